/* The first process of a pod's sandbox and of a machine of the cluster: keeps the namespaces alive,
 * reaps orphans, ends when it is told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int number) {
    (void)number;
    _exit(0);
}

static void reap(int number) {
    (void)number;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

static int handle(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NOCLDSTOP};
    return sigaction(number, &action, 0);
}

int main(void) {
    if (handle(SIGINT, end) || handle(SIGTERM, end) || handle(SIGCHLD, reap)) {
        return 1;
    }
    reap(SIGCHLD);
    for (;;) {
        pause();
    }
}
