/*
 * Notices whatever a foreign system call could leave behind. The main thread fills its registers, its vector registers
 * and the red zone under its stack pointer, computes a while, and looks whether all is as it was; it also looks at its
 * signal mask and alternate stack. Other threads sleep, read from a pipe, wait for a futex and for epoll: none of these
 * may return. It prints `ready`, then for every line of input how many rounds it has done, or, if the line begins with
 * i, how often epoll_wait was interrupted. Any change ends it, with a
 * line that names it. A closed input is no reason to end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned long rounds, interruptions;
static stack_t alternate;

static void changed(const char *what, long value)
{
	printf("changed: %s %ld (errno %d)\n", what, value, errno);
	fflush(stdout);
	_exit(1);
}

static void *sleeps(void *unused)
{
	struct timespec long_time = { 100000, 0 };
	changed("nanosleep returned", nanosleep(&long_time, 0));
	return unused;
}

static void *reads(void *unused)
{
	int ends[2];
	char byte;
	if (pipe(ends) != 0)
		changed("pipe", -1);
	changed("read returned", read(ends[0], &byte, 1));
	return unused;
}

static void *waits_for_futex(void *unused)
{
	static int word;
	changed("futex returned", syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0));
	return unused;
}

static void *waits_for_events(void *unused)
{
	struct epoll_event event;
	int epoll = epoll_create1(0);
	/* Whoever dies between stopping a thread and looking at it leaves it with EINTR here, as any stop signal does. */
	while (epoll_wait(epoll, &event, 1, -1) == -1 && errno == EINTR)
		interruptions++;
	changed("epoll_wait returned", 0);
	return unused;
}

static void *answers(void *unused)
{
	char line[64];
	while (fgets(line, sizeof line, stdin)) {
		printf("%lu\n", line[0] == 'i' ? interruptions : rounds);
		fflush(stdout);
	}
	for (;;)
		pause();
	return unused;
}

static void check_registers(void)
{
	static const float in[4] = { 1.5f, 2, 3, 4 };
	float out[4];
	long same = 0;
	__asm__ volatile(
		"movups %[in], %%xmm7\n"
		"mov $0x1111, %%r8\n mov $0x2222, %%r9\n mov $0x3333, %%r10\n mov $0x4444, %%r12\n"
		"mov $0x5555, %%r13\n mov $0x6666, %%rsi\n mov $0x7777, %%rdi\n mov $0x8888, %%rdx\n"
		"mov $0x9999, %%r11\n mov $0xaaaa, %%r14\n mov $0xbbbb, %%r15\n mov $0x1212, %%rax\n"
		"mov %%rax, -8(%%rsp)\n mov %%rax, -128(%%rsp)\n"
		"mov $20000, %%rcx\n"
		"1: dec %%rcx\n jnz 1b\n"
		"cmpq $0x1212, -8(%%rsp)\n jne 2f\n cmpq $0x1212, -128(%%rsp)\n jne 2f\n"
		"cmp $0x1111, %%r8\n jne 2f\n cmp $0x2222, %%r9\n jne 2f\n cmp $0x3333, %%r10\n jne 2f\n"
		"cmp $0x4444, %%r12\n jne 2f\n cmp $0x5555, %%r13\n jne 2f\n cmp $0x6666, %%rsi\n jne 2f\n"
		"cmp $0x7777, %%rdi\n jne 2f\n cmp $0x8888, %%rdx\n jne 2f\n cmp $0x9999, %%r11\n jne 2f\n"
		"cmp $0xaaaa, %%r14\n jne 2f\n cmp $0xbbbb, %%r15\n jne 2f\n cmp $0x1212, %%rax\n jne 2f\n"
		"mov $1, %%rax\n jmp 3f\n"
		"2: mov $0, %%rax\n"
		"3: movups %%xmm7, %[out]\n mov %%rax, %[same]\n"
		: [out] "=m"(out), [same] "=m"(same)
		: [in] "m"(in)
		: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
		  "xmm7", "memory", "cc");
	if (!same)
		changed("a general register or the red zone", 0);
	if (memcmp(in, out, sizeof in) != 0)
		changed("a vector register", 0);
}

static void check_signals(void)
{
	sigset_t mask;
	stack_t now;
	sigprocmask(SIG_BLOCK, 0, &mask);
	for (int signal = 1; signal < 64; signal++)
		if (sigismember(&mask, signal) != (signal == SIGUSR2))
			changed("the signal mask at", signal);
	sigaltstack(0, &now);
	if (now.ss_sp != alternate.ss_sp || now.ss_size != alternate.ss_size || now.ss_flags != 0)
		changed("the alternate stack", now.ss_flags);
}

int main(void)
{
	void *(*const others[])(void *) = { sleeps, reads, waits_for_futex, waits_for_events, answers };
	sigset_t mask;
	pthread_t thread;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, 0);
	alternate.ss_size = 65536;
	alternate.ss_sp = malloc(alternate.ss_size);
	sigaltstack(&alternate, 0);
	for (unsigned int index = 0; index < sizeof others / sizeof *others; index++)
		pthread_create(&thread, 0, others[index], 0);
	usleep(50000);
	puts("ready");
	fflush(stdout);
	for (;; rounds++) {
		check_registers();
		check_signals();
	}
}
