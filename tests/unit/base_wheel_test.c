#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include "base/random.h"
#include "base/wheel.h"

struct probe {
    struct timer timer;
    uint64_t due, fired_at;
    int fired;
};
static struct wheel wheel;

static void probe_fire(struct timer *timer) {
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->fired++;
    probe->fired_at = wheel.now;
}

static void fires_each_timer_once_at_its_millisecond(void **state) {
    (void)state;
    // Starts near borders of every level, the top one's turn included.
    static const uint64_t starts[] = {0, 1, 63, 4095, 262143, 16777215, (UINT64_C(1) << 30) - 1,
                                      (UINT64_C(1) << 36) - 5};
    for (size_t s = 0; s < sizeof starts / sizeof *starts; s++) {
        enum { N = 400 };
        static struct probe probes[N];
        wheel_init(&wheel, starts[s]);
        uint64_t most = 0;
        for (int i = 0; i < N; i++) {
            uint64_t span = UINT64_C(1) << random_below(i < 20 ? 33 : 21);
            probes[i] = (struct probe){.due = starts[s] + 1 + random_below(span)};
            timer_init(&probes[i].timer, probe_fire);
            wheel_start(&wheel, &probes[i].timer, probes[i].due);
            if (probes[i].due > most) most = probes[i].due;
        }
        for (int i = 0; i < N; i += 7) wheel_stop(&wheel, &probes[i].timer);
        uint64_t now = starts[s];
        while (now < most) {
            uint64_t next = wheel_next(&wheel);
            if (next == UINT64_MAX) break;
            uint64_t step = 1 + random_below(1 + next * 2);
            now += step;
            wheel_advance(&wheel, now);
        }
        for (int i = 0; i < N; i++) {
            if (i % 7 == 0) {
                assert_int_equal(probes[i].fired, 0);
                continue;
            }
            assert_int_equal(probes[i].fired, 1);
            assert_int_equal(probes[i].fired_at, probes[i].due);
        }
        assert_int_equal(wheel.count, 0);
        assert_true(wheel_next(&wheel) == UINT64_MAX);
    }
}

static struct probe *victim;
static void fire_and_stop_the_other(struct timer *timer) {
    probe_fire(timer);
    wheel_stop(&wheel, &victim->timer);
}

static void a_firing_timer_may_stop_another_that_is_due_now(void **state) {
    (void)state;
    struct probe a = {0}, b = {0};
    wheel_init(&wheel, 100);
    timer_init(&a.timer, fire_and_stop_the_other);
    timer_init(&b.timer, probe_fire);
    victim = &b;
    wheel_start(&wheel, &a.timer, 150);
    wheel_start(&wheel, &b.timer, 150);
    wheel_advance(&wheel, 200);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(wheel.count, 0);
}

static void fire_and_start_again(struct timer *timer) {
    struct probe *probe = container_of(timer, struct probe, timer);
    probe_fire(timer);
    if (probe->fired < 5) wheel_start(&wheel, timer, wheel.now + 10);
}

static void a_timer_may_start_itself_again(void **state) {
    (void)state;
    struct probe a = {0};
    wheel_init(&wheel, 60);
    timer_init(&a.timer, fire_and_start_again);
    wheel_start(&wheel, &a.timer, 1); // in the past: at the next advance
    wheel_advance(&wheel, 61);
    assert_int_equal(a.fired, 1);
    wheel_advance(&wheel, 1000);
    assert_int_equal(a.fired, 5);
    assert_int_equal(a.fired_at, 101);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_each_timer_once_at_its_millisecond),
        cmocka_unit_test(a_firing_timer_may_stop_another_that_is_due_now),
        cmocka_unit_test(a_timer_may_start_itself_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
