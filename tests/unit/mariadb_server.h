#ifndef FOOTLIGHT_TESTS_MARIADB_SERVER_H
#define FOOTLIGHT_TESTS_MARIADB_SERVER_H
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/// A private mariadbd in a temporary folder, on a unix socket only. It dies with the test.
struct mariadb_server {
    char folder[64], socket[96];
    pid_t pid;
};

/// Its output goes to <folder>/log, which is shown when it fails.
static inline pid_t mariadb_server_run(const struct mariadb_server *server,
                                       const char *const *arguments) {
    char log[96];
    snprintf(log, sizeof log, "%s/log", server->folder);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        dup2(null, 0);
        dup2(out, 1);
        dup2(out, 2);
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    return pid;
}

static inline void mariadb_server_failed(const struct mariadb_server *server, const char *what) {
    char command[160];
    snprintf(command, sizeof command, "tail -n 20 '%s/log' >&2", server->folder);
    if (system(command) != 0) fprintf(stderr, "and it left no log\n");
    fail_msg("%s", what);
}

static inline bool mariadb_server_listens(const struct mariadb_server *server) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", server->socket);
    char greeting[8];
    bool ok = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
              read(fd, greeting, sizeof greeting) > 4;
    close(fd);
    return ok;
}

/// Starts it and waits until it greets.
static inline void mariadb_server_start(struct mariadb_server *server) {
    char data[96], user[64], socket_option[128], tmp[96];
    snprintf(user, sizeof user, "--user=%s", getpwuid(getuid())->pw_name);
    bool made = server->folder[0] != 0;
    if (!made) {
        snprintf(server->folder, sizeof server->folder, "/tmp/footlight-mariadb-XXXXXX");
        assert_non_null(mkdtemp(server->folder));
        snprintf(server->socket, sizeof server->socket, "%s/socket", server->folder);
    }
    // Not /tmp: a server that starts removes from there what it takes for remains, be it another's.
    snprintf(tmp, sizeof tmp, "--tmpdir=%s", server->folder);
    if (!made) {
        snprintf(data, sizeof data, "--datadir=%s/data", server->folder);
        pid_t pid = mariadb_server_run(server, (const char *const[]){
            "mariadb-install-db", "--no-defaults", data, tmp, user, "--skip-name-resolve", "--skip-test-db",
            "--auth-root-authentication-method=normal", NULL});
        int status = -1;
        waitpid(pid, &status, 0);
        if (status != 0) mariadb_server_failed(server, "mariadb-install-db failed");
    }
    snprintf(data, sizeof data, "--datadir=%s/data", server->folder);
    snprintf(socket_option, sizeof socket_option, "--socket=%s", server->socket);
    server->pid = mariadb_server_run(server, (const char *const[]){
        "mariadbd", "--no-defaults", data, tmp, user, socket_option, "--skip-networking",
        "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0",
        "--innodb-use-native-aio=0", NULL});
    for (int i = 0; i < 1500; i++) {
        if (mariadb_server_listens(server)) return;
        if (waitpid(server->pid, NULL, WNOHANG) != 0)
            mariadb_server_failed(server, "mariadbd ended instead of starting");
        poll(NULL, 0, 20);
    }
    mariadb_server_failed(server, "mariadbd did not start");
}

static inline void mariadb_server_signal(struct mariadb_server *server, int number) {
    kill(server->pid, number);
    if (number == SIGSTOP) waitpid(server->pid, NULL, WUNTRACED); // from here on it answers nothing
    if (number != SIGKILL && number != SIGTERM) return;
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
}

static inline void mariadb_server_remove(struct mariadb_server *server) {
    if (server->pid) mariadb_server_signal(server, SIGKILL);
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", server->folder);
    assert_int_equal(system(command), 0);
}
#endif
