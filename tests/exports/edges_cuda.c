/* What an exported library says to a caller in C; the device's memory is the host's here, as in the shim. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edges.h"

#define COUNT 12

int main(void) {
    static double x[COUNT], seed[COUNT + 2], bars[COUNT], out[COUNT + 2];
    int64_t sizes[] = {COUNT}, places[1], strided[] = {COUNT / 2};
    double last = 0.0, scale_bar = 0.0;
    for (int k = 0; k < COUNT; ++k) {
        x[k] = k - 3.0;
        seed[k] = 1.0;
    }

    /* A call without a state is refused where it would need one, and no other. */
    double y[COUNT];
    assert(edges_relu3_f64(NULL, COUNT, x, 1, y, 1) == EDGES_OK);
    assert(y[COUNT - 1] == x[COUNT - 1] - 2.0 / 3.0);
    edges_context context = {0};
    assert(edges_relu3_f64(&context, COUNT, NULL, 1, y, 1) == EDGES_ARGUMENT && strstr(context.message, "x is a null") != NULL);
    assert(edges_relu3_f64(&context, COUNT, x, 1, y, 0) == EDGES_ARGUMENT);
    assert(edges_relu3_f64(&context, -1, x, 1, y, 1) == EDGES_ARGUMENT);
    assert(edges_relu3_f64(&context, 0, NULL, 1, NULL, 1) == EDGES_OK);
    const edges_f64_in whole = {x, sizes, NULL};
    assert(edges_prefix_sizes(&context, sizes, 2, places) == EDGES_OK && places[0] == COUNT + 2);
    const edges_f64_out result = {out, places};
    assert(edges_prefix_f64(&context, whole, 2, 0.5, result, &last) == EDGES_ARGUMENT);
    assert(strstr(context.message, "has no state") != NULL);

    /* Sizes are compared before anything is launched. */
    context.state = calloc(1, EDGES_STATE_BYTES);
    const edges_f64_out small = {out, sizes};
    assert(edges_prefix_f64(&context, whole, 2, 0.5, small, &last) == EDGES_ARGUMENT);
    context.scratch = (char *)context.state + 1;
    assert(edges_prefix_f64(&context, whole, 2, 0.5, result, &last) == EDGES_ARGUMENT);
    /* As much as the thread that walks through a loop by itself needs to tell the others. */
    context.scratch_bytes = 512;
    context.scratch = aligned_alloc(256, context.scratch_bytes);

    /* What a kernel stops for is known to finish, with the line; until then nothing runs, and afterwards all does. */
    assert(edges_prefix_f64(&context, whole, 2, 1e6, result, &last) == EDGES_OK);
    last = -1.0;
    assert(edges_prefix_f64(&context, whole, 2, 0.5, result, &last) == EDGES_OK && last == -1.0);
    assert(edges_finish(&context) == EDGES_ASSERT && context.line > 0 && strcmp(context.message, "s < 1000.0") == 0);
    assert(edges_more_scratch(&context) == 0);
    assert(edges_prefix_f64(&context, whole, 2, 0.5, result, &last) == EDGES_OK);
    assert(edges_finish(&context) == EDGES_OK && context.message[0] == '\0');
    double sum = 0.0;
    for (int k = 0; k < COUNT; ++k) {
        sum += x[k] * x[k] * 0.5;
    }
    assert(last == sum);

    /* Memory is asked for until there is enough; strides are in elements, so these are every second one. */
    const int64_t steps[] = {2};
    const edges_f64_in odd = {x, strided, steps};
    int64_t seeded[] = {COUNT / 2 + 2};
    const edges_f64_in cotangent = {seed, seeded, NULL};
    const edges_f64_out bar = {bars, strided};
    int tries = 0, code = EDGES_OK;
    do {
        free(context.scratch);
        context.scratch = context.scratch_bytes > 0 ? aligned_alloc(256, context.scratch_bytes) : NULL;
        code = edges_prefix_vjp_f64(&context, odd, 2, 0.5, cotangent, 1.0, bar, &scale_bar);
        code = code == EDGES_OK ? edges_finish(&context) : code;
        ++tries;
    } while (code == EDGES_MEMORY && edges_more_scratch(&context));
    assert(code == EDGES_OK && tries > 1 && scale_bar != 0.0);

    /* What threads want for themselves is given to all of them: the shim runs 192 at a time. */
    edges_context hungry = {0};
    hungry.code = EDGES_MEMORY;
    hungry.scratch_wanted_per_thread = 1000;
    assert(edges_more_scratch(&hungry) == 1);
    assert(hungry.scratch_per_thread == 1024 && hungry.scratch_bytes == (1 << 20) + 192 * 1024);
    hungry.scratch_wanted_per_thread = 0;
    assert(edges_more_scratch(&hungry) == 0);
    assert(edges_more_scratch(NULL) == 0);
    free(context.scratch);
    free(context.state);
    puts("fine");
    return 0;
}
