#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/log.h"
#include "base/memory.h"
#include "loop/work.h"
#include "server/control_socket.h"
#include "server/process.h"

// This program is its own service: started as "… service NAME INSTANCE" it reports, answers each
// line with one of its own, and dies at once when its name is "mortal".
static int be_a_service(const char *name) {
    if (strcmp(name, "mortal") == 0) return 7;
    fcntl(PROCESS_LINK_FD, F_SETFL, 0); // it comes non-blocking, for a loop
    dprintf(PROCESS_LINK_FD, "{\"generation\":1}\n");
    char line[256];
    ssize_t n;
    while ((n = read(PROCESS_LINK_FD, line, sizeof line)) > 0)
        dprintf(PROCESS_LINK_FD, "{\"answer\":%zd}\n", n);
    return 0;
}

static struct loop loop;
static struct config config;
static struct list processes;
static bool answered, ended;

static void on_answer(struct process *process) {
    (void)process;
    answered = true;
}
static void on_end(struct process *process) {
    (void)process;
    ended = true;
}

static struct process *start(const char *service) {
    struct process *process = memory_alloc(sizeof *process);
    process_init(process, &loop, &config);
    process->program = "server_process_test";
    process->service = service;
    process->instance = 1;
    process->on_answer = on_answer;
    process->on_end = on_end;
    list_push_back(&processes, &process->link);
    process_start(process);
    return process;
}

static void stop(struct process *process) {
    ended = false;
    process_stop(process, SIGTERM);
    if (process->running) assert_true(loop_run_until(&loop, &ended, 5000));
    list_remove(&process->link);
    process_free(process);
}

static bool reported(const struct process *process) { return process->report.size > 0; }

static void run_until_reported(struct process *process) {
    for (int i = 0; i < 500 && !reported(process); i++) {
        bool never = false;
        loop_run_until(&loop, &never, 10);
    }
    assert_true(reported(process));
}

static int set_up(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    list_init(&processes);
    config = (struct config){.root = memory_copy_string("."), .settings = settings_new()};
    char folder[] = "/tmp/server_test_XXXXXX", run[64];
    assert_non_null(mkdtemp(folder));
    snprintf(run, sizeof run, "mkdir %s/run", folder);
    assert_int_equal(system(run), 0);
    settings_set(config.settings, "var", folder);
    answered = ended = false;
    return loop_init(&loop);
}
static int tear_down(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", settings_text(config.settings, "var", NULL));
    assert_int_equal(system(command), 0);
    config_close(&config);
    return loop_close(&loop);
}

static void a_service_reports_and_answers_questions(void **state) {
    (void)state;
    struct process *process = start("web");
    assert_false(process_ask(process, SLICE("status"))); // it has not reported yet
    run_until_reported(process);
    assert_true(process_ask(process, SLICE("status")));
    assert_true(loop_run_until(&loop, &answered, 5000));
    assert_memory_equal(process->report.data, "{\"answer\":7}", 12);
    stop(process);
}

static void a_service_that_is_killed_is_back_soon_under_another_number(void **state) {
    (void)state;
    struct process *process = start("web");
    run_until_reported(process);
    int first = process->handle.pid;
    buffer_clear(&process->report, 0);
    kill(first, SIGKILL);
    for (int i = 0; i < 500 && process->restarts == 0; i++) {
        bool never = false;
        loop_run_until(&loop, &never, 10);
    }
    assert_int_equal(process->restarts, 1);
    assert_int_equal(process->backoff_ms, 100);
    run_until_reported(process);
    assert_int_not_equal(process->handle.pid, first);
    stop(process);
}

static void restarts_of_one_that_cannot_live_come_further_and_further_apart(void **state) {
    (void)state;
    struct process *process = start("mortal");
    for (int i = 0; i < 500 && process->restarts < 3; i++) {
        bool never = false;
        loop_run_until(&loop, &never, 10);
    }
    assert_true(process->restarts >= 3);
    assert_true(process->backoff_ms >= 400);
    assert_int_equal(process->exit_status, 7);
    stop(process);
}

static void an_asked_service_that_dies_counts_as_an_answer(void **state) {
    (void)state;
    struct process *process = start("web");
    run_until_reported(process);
    kill(process->handle.pid, SIGSTOP);
    assert_true(process_ask(process, SLICE("reload")));
    kill(process->handle.pid, SIGKILL);
    assert_true(loop_run_until(&loop, &answered, 5000));
    stop(process);
}

struct question {
    const char *text;
    struct buffer answer;
    int error;
    bool done;
};
static void ask(void *data) {
    struct question *question = data;
    question->error = control_socket_ask(config.settings, question->text, &question->answer);
}
static void asked(void *data) { ((struct question *)data)->done = true; }

static struct control_socket *control;
static void on_control_answer(struct process *process) {
    (void)process;
    control_socket_answered(control);
}

static void the_control_socket_tells_what_every_service_says(void **state) {
    (void)state;
    control = control_socket_new(&loop, &config, &processes);
    assert_non_null(control);
    assert_null(control_socket_new(&loop, &config, &processes)); // one supervisor a folder
    struct process *process = start("web");
    process->on_answer = on_control_answer;
    run_until_reported(process);
    struct question status = {.text = "status"}, nonsense = {.text = "shutdown"};
    work_submit(&loop, ask, asked, &status);
    assert_true(loop_run_until(&loop, &status.done, 5000));
    assert_int_equal(status.error, 0);
    const char *text = buffer_text(&status.answer);
    assert_non_null(strstr(text, "\"service\":\"web\",\"instance\":1"));
    assert_non_null(strstr(text, "\"report\":{\"answer\":7}"));
    work_submit(&loop, ask, asked, &nonsense);
    assert_true(loop_run_until(&loop, &nonsense.done, 5000));
    assert_non_null(strstr(buffer_text(&nonsense.answer), "unknown question"));
    buffer_free(&status.answer);
    buffer_free(&nonsense.answer);
    stop(process);
    control_socket_free(control);
    struct question late = {.text = "status"};
    work_submit(&loop, ask, asked, &late);
    assert_true(loop_run_until(&loop, &late.done, 5000));
    assert_true(late.error < 0);
    buffer_free(&late.answer);
}

int main(int count, char **arguments) {
    for (int i = 1; i + 1 < count; i++)
        if (strcmp(arguments[i], "service") == 0) return be_a_service(arguments[i + 1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_service_reports_and_answers_questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_service_that_is_killed_is_back_soon_under_another_number,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            restarts_of_one_that_cannot_live_come_further_and_further_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_asked_service_that_dies_counts_as_an_answer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_control_socket_tells_what_every_service_says, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
