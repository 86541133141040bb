/* What a C program may do with an exported library, right and wrong. */
#include "edges.h"

#include <stdio.h>
#include <string.h>

#define CHECK(condition)                                         \
    do {                                                         \
        if (!(condition)) {                                      \
            printf("line %d: %s\n", __LINE__, #condition);       \
            printf("  code %d: %s\n", context.code, context.message); \
            return 1;                                            \
        }                                                        \
    } while (0)

int main(void) {
    edges_context context = {0};

    /* Any strides, zero and negative ones among them, and no context. */
    const double numbers[] = {4.0, 0.5, -1.0, 0.25};
    double cubes[] = {7.0, 7.0, 7.0, 7.0};
    CHECK(edges_relu3_f64(&context, 2, numbers + 3, -2, cubes, 2) == 0);
    CHECK(cubes[0] == 0.25 * 0.25 * 0.25 / 3 && cubes[1] == 7.0 && cubes[2] == 0.5 * 0.5 * 0.5 / 3 && cubes[3] == 7.0);
    CHECK(edges_relu3_f64(NULL, 3, numbers, 0, cubes, 1) == 0 && cubes[2] == 4.0 - 2.0 / 3);
    CHECK(edges_relu3_f64(&context, 0, NULL, 1, NULL, 1) == 0);
    CHECK(edges_relu3_f64(&context, 1, NULL, 1, cubes, 1) == EDGES_ARGUMENT && strcmp(context.message, "x is a null pointer") == 0);
    CHECK(edges_relu3_f64(&context, 3, numbers, 1, cubes, 0) == EDGES_ARGUMENT);
    CHECK(edges_relu3_f64(&context, -1, numbers, 1, cubes, 1) == EDGES_ARGUMENT);

    /* More lanes than one thread is given. */
    enum { many = 100003 };
    static double given[many], found[many], expected[many];
    for (int i = 0; i < many; ++i) {
        given[i] = (i % 301) / 100.0 - 1.0;
    }
    CHECK(edges_relu3_f64(&context, many, given, 1, expected, 1) == 0);
    context.threads = 4;
    CHECK(edges_relu3_f64(&context, many, given, 1, found, 1) == 0);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    context.threads = 0;

    /* A transposed and a broadcast argument: strides are counted in elements. */
    const double a[] = {1, 2, 3, 4, 5, 6}, row[] = {1, 10, 100};
    const int64_t a_sizes[] = {2, 3}, a_strides[] = {1, 2}, row_sizes[] = {2, 2}, row_strides[] = {1, 0}, three_two[] = {3, 2};
    double product[6] = {0};
    CHECK(edges_transposed_f64(&context, (edges_f64_in){a, a_sizes, a_strides}, (edges_f64_in){row, row_sizes, row_strides},
                               (edges_f64_out){product, three_two}) == 0);
    CHECK(product[0] == 1 + 20 + 1 && product[1] == product[0] && product[4] == 5 + 60 + 1);
    CHECK(edges_transposed_f64(&context, (edges_f64_in){a, a_sizes, NULL}, (edges_f64_in){row, three_two, NULL},
                               (edges_f64_out){product, three_two}) != 0);
    CHECK(edges_transposed_f64(&context, (edges_f64_in){a, a_sizes, a_strides}, (edges_f64_in){row, row_sizes, row_strides},
                               (edges_f64_out){product, a_sizes}) == EDGES_ARGUMENT);
    CHECK(strcmp(context.message, "result has the size 2 in dimension 0, and is to have 3") == 0);

    /* Sizes of results, which may be none, or impossible. */
    const int64_t four[] = {4}, none[] = {0}, negative[] = {-4};
    int64_t sizes[1] = {0};
    CHECK(edges_prefix_sizes(&context, four, 2, sizes) == 0 && sizes[0] == 6);
    CHECK(edges_prefix_sizes(&context, four, -5, sizes) == EDGES_INDEX && context.line > 0);
    CHECK(edges_prefix_sizes(&context, four, INT64_MAX, sizes) == EDGES_INDEX);
    CHECK(edges_prefix_sizes(&context, NULL, 2, sizes) == EDGES_ARGUMENT);
    double out[6] = {0}, last = 1;
    CHECK(edges_prefix_f64(&context, (edges_f64_in){NULL, none, NULL}, 0, 1.0, (edges_f64_out){NULL, none}, &last) == 0);
    CHECK(last == 0.0);
    CHECK(edges_prefix_f64(&context, (edges_f64_in){a, negative, NULL}, 2, 1.0, (edges_f64_out){out, four}, &last) == EDGES_ARGUMENT);
    CHECK(edges_prefix_f64(&context, (edges_f64_in){a, NULL, NULL}, 2, 1.0, (edges_f64_out){out, four}, &last) == EDGES_ARGUMENT);
    CHECK(edges_prefix_f64(&context, (edges_f64_in){a, four, NULL}, 0, 1.0, (edges_f64_out){out, four}, NULL) == EDGES_ARGUMENT);

    /* What a kernel stops for. */
    CHECK(edges_prefix_f64(&context, (edges_f64_in){a, four, NULL}, 0, 1e6, (edges_f64_out){out, four}, &last) == EDGES_ASSERT);
    CHECK(context.code == EDGES_ASSERT && context.line > 0 && context.message[0] != '\0');
    double picked = 0;
    CHECK(edges_pick_f64(&context, (edges_f64_in){a, four, NULL}, 9, &picked) == EDGES_INDEX);
    CHECK(strstr(context.message, "index 9 is out of range") != NULL);
    CHECK(edges_depth_f64(&context, 100000000, 1.0, &picked) == EDGES_RECURSION);
    CHECK(edges_depth_f64(&context, 3, 8.0, &picked) == 0 && picked == 4.0 && context.code == 0 && context.message[0] == '\0');
    CHECK(edges_keywords_f64(&context, 2, 3, 5, 7, 11, 13, &picked) == 0 && picked == 184.0);
    puts("fine");
    return 0;
}
