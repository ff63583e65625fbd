#ifndef FOOTLIGHT_TESTS_REDIS_SERVER_H
#define FOOTLIGHT_TESTS_REDIS_SERVER_H
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/memory.h"

/// A private redis-server (from PATH) in a temporary folder, on a unix socket only. It dies with
/// the test.
struct redis_server {
    char folder[64], path[80], address[96];
    pid_t pid;
    const char *fsync; ///< NULL: no AOF
    int port;          ///< on loopback; 0: none
    const char *const *more; ///< further arguments, up to a NULL, or NULL
};

static inline bool redis_server_answers(const struct redis_server *server) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->path);
    char answer[8] = "";
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              write(fd, "PING\r\n", 6) == 6 && read(fd, answer, 5) == 5 && answer[0] == '+';
    close(fd);
    return ok;
}

/// A loopback port that nobody uses now.
static inline int redis_server_free_port(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/// Starts it and waits until it answers.
static inline void redis_server_start(struct redis_server *server) {
    if (!server->folder[0]) {
        snprintf(server->folder, sizeof server->folder, "/tmp/footlight-redis-XXXXXX");
        assert_non_null(mkdtemp(server->folder));
        snprintf(server->path, sizeof server->path, "%s/socket", server->folder);
        snprintf(server->address, sizeof server->address, "unix:%s", server->path);
    }
    unlink(server->path);
    server->pid = fork();
    assert_true(server->pid >= 0);
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        dup2(null, 2);
        char port[8];
        snprintf(port, sizeof port, "%d", server->port);
        const char *arguments[48] = {
            "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", server->path,
            "--dir", server->folder, "--save", "", "--appendonly", server->fsync ? "yes" : "no",
            "--appendfsync", server->fsync ? server->fsync : "no"};
        size_t count = 15;
        for (size_t i = 0; server->more && server->more[i] && count < 47; i++)
            arguments[count++] = server->more[i];
        execvp("redis-server", (char *const *)arguments);
        _exit(127);
    }
    for (int i = 0; i < 500; i++) {
        if (redis_server_answers(server)) return;
        assert_int_equal(waitpid(server->pid, NULL, WNOHANG), 0);
        poll(NULL, 0, 20);
    }
    fail_msg("redis-server did not start");
}

static inline void redis_server_stop(struct redis_server *server, int signal_number) {
    if (server->pid <= 0) return;
    kill(server->pid, signal_number);
    if (signal_number == SIGSTOP || signal_number == SIGCONT) return;
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static inline void redis_server_remove(struct redis_server *server) {
    redis_server_stop(server, SIGKILL);
    char command[80];
    snprintf(command, sizeof command, "rm -r '%.63s'", server->folder);
    assert_int_equal(system(command), 0);
    memset(server, 0, sizeof *server);
}
#endif
