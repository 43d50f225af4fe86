// A client that keeps setting keys in a redis-server and knows what must be in each. Usage: scribe SOCKET KEYS REPORT
//
// Connected over a UNIX socket, so that a tree of both can be dumped and restored together. On SIGUSR1 it gets every key
// and REPORT gets a line: "sound|broken <writes>".
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { VALUE_BYTES = 600 };
static volatile sig_atomic_t asked;
static FILE *to_server, *from_server;

static void on_signal(int number) {
  (void)number;
  asked = 1;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

// Words of a few letters each, as values of redis have; a quarter of it random.
static void value_of(unsigned key, unsigned version, char *value) {
  uint64_t state = (uint64_t)key * 0x9e3779b97f4a7c15ULL + version + 1;
  for (int at = 0; at < VALUE_BYTES; at += 20) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    char text[21];
    snprintf(text, sizeof text, "field%02d=%08x,us;", at / 20, (unsigned)(state >> 32));
    memcpy(value + at, text, 20);
  }
  value[VALUE_BYTES] = 0;
}

static void expect_line(char *line, size_t bytes) {
  if (fgets(line, bytes, from_server) == NULL) fail("answer");
}

static void set(unsigned key, unsigned version) {
  char value[VALUE_BYTES + 1], line[64], name[32];
  value_of(key, version, value);
  int length = snprintf(name, sizeof name, "key:%08u", key);
  fprintf(to_server, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", length, name, VALUE_BYTES, value);
  fflush(to_server);
  expect_line(line, sizeof line);
  if (strcmp(line, "+OK\r\n") != 0) fail(line);
}

static int has(unsigned key, unsigned version) {
  char value[VALUE_BYTES + 1], line[VALUE_BYTES + 64], name[32];
  value_of(key, version, value);
  int length = snprintf(name, sizeof name, "key:%08u", key);
  fprintf(to_server, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", length, name);
  fflush(to_server);
  expect_line(line, sizeof line);
  if (line[0] != '$' || atoi(line + 1) != VALUE_BYTES) return 0;
  expect_line(line, sizeof line);
  return strncmp(line, value, VALUE_BYTES) == 0;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  unsigned keys = atoi(arguments[2]), *versions = calloc(keys, sizeof *versions);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, arguments[1], sizeof address.sun_path - 1);
  while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) usleep(50000);
  to_server = fdopen(fd, "w");
  from_server = fdopen(dup(fd), "r");
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &action, NULL);
  unsigned long writes = 0;
  uint64_t random = 1;
  for (unsigned key = 0; key < keys; key++, writes++) set(key, 0);
  int out = open(arguments[3], O_WRONLY | O_APPEND | O_CREAT, 0644);
  for (;;) {
    if (asked) {
      asked = 0;
      unsigned wrong = 0;
      for (unsigned key = 0; key < keys; key++) wrong += !has(key, versions[key]);
      char line[64];
      int length = snprintf(line, sizeof line, "%s %lu\n", wrong == 0 ? "sound" : "broken", writes);
      if (out < 0 || write(out, line, length) != length) fail(arguments[3]);
    }
    for (int i = 0; i < 10; i++, writes++) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      unsigned key = (random >> 33) % keys;
      versions[key]++;
      set(key, versions[key]);
    }
    usleep(5000);
  }
}
