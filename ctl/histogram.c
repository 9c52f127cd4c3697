/* posternctl histogram: how long requests waited and how long each hook took, as bars. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "common/log.h"
#include "ctl/command.h"
#include "ctl/render.h"
#include "ctl/server.h"

enum { BAR_WIDTH = 50, ROWS = 48, FIRST_LOG2 = 2 /* the first row: below 4 microseconds */ };

/* The row of a bucket that ends there: rows double, from 4 microseconds up. */
static int row_of(double end_ms)
{
    int row = 0;
    double limit_ms = 0.004;
    for (; row < ROWS - 1 && end_ms > limit_ms * 1.0001; row++) {
        limit_ms *= 2;
    }
    return row;
}

static void time_text(char *out, size_t out_bytes, double ms)
{
    if (ms < 1) {
        snprintf(out, out_bytes, "%.3g us", ms * 1000);
    } else if (ms < 1000) {
        snprintf(out, out_bytes, "%.3g ms", ms);
    } else {
        snprintf(out, out_bytes, "%.3g s", ms / 1000);
    }
}

static void print_bars(const json_t *buckets)
{
    double counts[ROWS] = {0}, most = 0;
    int first = ROWS, last = -1;
    for (size_t i = 0; i < json_array_size(buckets); i++) {
        const json_t *bucket = json_array_get(buckets, i);
        int row = row_of(json_number_value(json_array_get(bucket, 0)));
        counts[row] += json_number_value(json_array_get(bucket, 1));
        most = counts[row] > most ? counts[row] : most;
        first = row < first ? row : first;
        last = row > last ? row : last;
    }
    for (int row = first; row <= last; row++) {
        char limit[32];
        time_text(limit, sizeof(limit), ldexp(0.001, row + FIRST_LOG2));
        int width = (int)ceil(counts[row] / most * BAR_WIDTH);
        printf("  < %-8s %10.0f  %.*s\n", limit, counts[row], width,
            "##################################################");
    }
}

static void print_histogram(const char *name, const json_t *histogram)
{
    static const char *const shares[] = {"p50", "p90", "p99"};
    json_int_t n = json_integer_value(json_object_get(histogram, "n"));
    char text[32];
    render_escaped(stdout, slice_text(name));
    printf(": %lld", (long long)n);
    if (n > 0) {
        time_text(text, sizeof(text),
            json_number_value(json_object_get(histogram, "sum_ms")) / (double)n);
        printf(", mean %s", text);
    }
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]) && n > 0; i++) {
        time_text(text, sizeof(text), json_number_value(json_object_get(histogram, shares[i])));
        printf(", %s %s", shares[i], text);
    }
    printf("\n");
    print_bars(json_object_get(histogram, "buckets"));
}

int command_histogram(const struct args *args)
{
    json_t *data = NULL;
    const char *name;
    json_t *histogram;
    int code = server_ask(args, "histogram", NULL, 0, &data);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (args_has(args, ARG_JSON)) {
        render_json_line(stdout, data);
    } else {
        print_histogram("queue", json_object_get(data, "queue"));
        json_object_foreach(json_object_get(data, "hooks"), name, histogram)
        {
            print_histogram(name, histogram);
        }
    }
    json_decref(data);
    return EXIT_CODE_OK;
}
