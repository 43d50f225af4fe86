/*
 * A program that trackers have to be careful with, as its argument says: "strict" and "filter" live under seccomp, where
 * a system call that is not foreseen is deadly, "aio" has a ring of asynchronous I/O. It changes its memory for each
 * line "x" and answers with the same.
 */
#include <linux/aio_abi.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static char memory[256 * 4096];

static int allow_little(void) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_restart_syscall, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof *code, code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int count, char **arguments) {
  aio_context_t context = 0;
  char byte;
  for (size_t i = 0; i < sizeof memory; i += 512) memory[i] = (char)(i >> 9);
  if (count != 2) return 1;
  if (strcmp(arguments[1], "strict") == 0) {
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) return 2;
  } else if (strcmp(arguments[1], "filter") == 0) {
    if (allow_little()) return 3;
  } else if (syscall(SYS_io_setup, 8, &context)) {
    return 4;
  }
  if (write(1, "ready\n", 6) != 6) return 5;
  for (unsigned turn = 1; read(0, &byte, 1) == 1;) {
    if (byte != 'x') continue;
    for (int i = 0; i < 20; i++) memory[(turn = turn * 1103515245 + 12345) % sizeof memory]++;
    if (write(1, "x\n", 2) != 2) return 6;
  }
  return 0;
}
