#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
// cmocka wants those before it.
#include <cmocka.h>

#include "http/geo.h"

static struct geo *read_text(const char *text) {
    char path[] = "/tmp/footlight-geo-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const char *why = "";
    struct geo *geo = geo_read(path, &why);
    unlink(path);
    return geo;
}

static const char *where(const struct geo *geo, const char *address) {
    static char country[3];
    return geo_country(geo, slice_of(address), country) ? country : "";
}

static void finds_the_range_that_an_address_is_in(void **state) {
    (void)state;
    struct geo *geo = read_text("# made by hand\n"
                                "2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,SE\n"
                                "10.1.0.0,10.1.0.255,DE\r\n"
                                "\"10.0.0.0\",\"10.0.0.7\",\"at\"\n"
                                "192.0.2.0/25,FR\n"
                                "2001:db8:1::/48,NO");
    assert_non_null(geo);
    assert_int_equal(geo_count(geo), 5);
    assert_string_equal(where(geo, "10.0.0.0"), "AT");
    assert_string_equal(where(geo, "10.0.0.7"), "AT");
    assert_string_equal(where(geo, "10.0.0.8"), "");
    assert_string_equal(where(geo, "10.1.0.128"), "DE");
    assert_string_equal(where(geo, "::ffff:10.1.0.128"), "DE");
    assert_string_equal(where(geo, "192.0.2.127"), "FR");
    assert_string_equal(where(geo, "192.0.2.128"), "");
    assert_string_equal(where(geo, "2001:db8::1"), "SE");
    assert_string_equal(where(geo, "2001:db8:1:ffff::"), "NO");
    assert_string_equal(where(geo, "2001:db8:2::"), "");
    assert_string_equal(where(geo, "9.255.255.255"), "");
    assert_string_equal(where(geo, "255.255.255.255"), "");
    assert_string_equal(where(geo, "nonsense"), "");
    assert_string_equal(where(geo, ""), "");
    geo_free(geo);
}

static void passes_over_lines_that_are_no_ranges(void **state) {
    (void)state;
    struct geo *geo = read_text("first,last,country\n1.0.0.0,0.0.0.9,DE\n1.0.0.0,2001:db8::,DE\n1.0.0.0/33,DE\n"
                                "1.0.0.0/8,DEU\n1.0.0.0/8,1!\n,,\n\n1.0.0.0/8\n1.2.3.0/24,IT\n");
    assert_non_null(geo);
    assert_int_equal(geo_count(geo), 1);
    assert_string_equal(where(geo, "1.2.3.4"), "IT");
    geo_free(geo);
}

static void says_why_a_file_is_none(void **state) {
    (void)state;
    const char *why = "";
    assert_null(read_text("nothing here\n"));
    assert_null(geo_read("/nonexistent/countries.csv", &why));
    assert_string_equal(why, "the file cannot be opened");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_range_that_an_address_is_in),
        cmocka_unit_test(passes_over_lines_that_are_no_ranges),
        cmocka_unit_test(says_why_a_file_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
