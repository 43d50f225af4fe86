// Stands between a client and a server on this machine and keeps what each of them says.
// Usage: tap LISTEN_PORT SERVER_PORT DIRECTORY: one connection after the other, number N into DIRECTORY/N.{client,server}
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in local(const char *port) {
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

// Returns 0 at the end of what `from` says.
static int pass(int from, int to, FILE *record) {
  static char data[1 << 16];
  ssize_t bytes = read(from, data, sizeof data);
  if (bytes <= 0) {
    shutdown(to, SHUT_WR);
    return 0;
  }
  if (fwrite(data, 1, bytes, record) != (size_t)bytes) fail("record");
  for (ssize_t done = 0; done < bytes;) {
    ssize_t written = write(to, data + done, bytes - done);
    if (written <= 0) return 0;
    done += written;
  }
  return 1;
}

static FILE *record_of(const char *directory, int number, const char *side) {
  char name[4096];
  snprintf(name, sizeof name, "%s/%d.%s", directory, number, side);
  FILE *file = fopen(name, "w");
  if (file == NULL) fail(name);
  return file;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  struct sockaddr_in own = local(arguments[1]), server = local(arguments[2]);
  int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 4) != 0) fail("listen");
  for (int number = 1;; number++) {
    int client = accept(listener, NULL, NULL), other = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(other, (struct sockaddr *)&server, sizeof server) != 0) fail("connect");
    FILE *records[2] = {record_of(arguments[3], number, "client"), record_of(arguments[3], number, "server")};
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = other, .events = POLLIN}};
    while (ends[0].fd >= 0 || ends[1].fd >= 0) {
      if (poll(ends, 2, -1) < 0) fail("poll");
      if (ends[0].fd >= 0 && ends[0].revents != 0 && !pass(client, other, records[0])) ends[0].fd = -1;
      if (ends[1].fd >= 0 && ends[1].revents != 0 && !pass(other, client, records[1])) ends[1].fd = -1;
    }
    for (int i = 0; i < 2; i++) fclose(records[i]);
    close(client);
    close(other);
  }
}
