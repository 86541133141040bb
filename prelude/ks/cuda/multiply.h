// Products of matrices: tile by tile on the blocks of a grid, or by one block; element by element by fewer threads.
#ifndef KS_CUDA_MULTIPLY_H
#define KS_CUDA_MULTIPLY_H

#include <cmath>
#include <cstdint>

#include "ks/cuda/indices.h"
#include "ks/cuda/runtime.h"
#include "ks/cuda/tiles.h"
#include "ks/macros.h"
#include "ks/matrix.h"
#include "ks/tensor.h"

namespace ks {

// So many products, of each of which c(i, j) is the sum over k < depth of a(i, k) b(k, j).
struct product_sizes {
    int64_t count, rows, columns, depth;
};

template <class T> struct factors {
    matrix<T> a, b;

    __device__ factors turned() const { return {{b.data, b.column, b.row}, {a.data, a.column, a.row}}; }
};

// Where c(i, j) is, i rows and j columns from `data`; all of a product's elements lie together.
template <class T> struct product_place {
    T *data;
    int64_t row, column;
};

// How products are divided. Terms are divided where there are fewer tiles than blocks: `deep` of them are summed up at a time,
// and the sums are added in their order. A step of the cost is about a cycle of a processor that has two blocks.
enum class tile_kind { none, flat, small, large };
struct tile_plan {
    tile_kind kind;
    int64_t splits;
    int64_t deep;
    float cost;
};

constexpr float least_deep = 64, most_split_bytes = 64 << 20;

// With tiles of one shape, of which a chunk takes `each` steps, to begin and end a tile a thousand, and to add up sums three thousand.
template <class Shape, class T>
__device__ inline tile_plan plan_for(tile_kind kind, const product_sizes &of, float blocks, float each) {
    const float rows = static_cast<float>(of.rows), columns = static_cast<float>(of.columns), depth = static_cast<float>(of.depth);
    const float elements = static_cast<float>(of.count) * rows * columns;
    const float items = static_cast<float>(of.count) * ceilf(rows / Shape::rows) * ceilf(columns / Shape::columns);
    const float whole = ceilf(items / blocks) * (ceilf(depth / Shape::terms) * each + 1000.0f);
    float splits = fminf(floorf(blocks / items), floorf(depth / least_deep));
    splits = fminf(splits, floorf(most_split_bytes / (elements * sizeof(T))));
    const float adding = 3000.0f + ceilf(elements / (blocks * block_size)) * splits * 20.0f;
    const float divided = ceilf(depth / splits / Shape::terms) * each + 1000.0f + adding;
    return splits < 2.0f || whole <= divided ? tile_plan{kind, 1, of.depth, whole}
                                             : tile_plan{kind, static_cast<int64_t>(splits), 0, divided};
}

template <class T> __device__ inline tile_plan best_plan(const product_sizes &of, float blocks, bool side_by_side) {
    constexpr float width = sizeof(T) / sizeof(float);
    const float elements = static_cast<float>(of.count) * static_cast<float>(of.rows) * static_cast<float>(of.columns);
    const float step = side_by_side ? 40.0f : 160.0f;
    const float cost = 300.0f + ceilf(elements / (blocks * block_size)) * static_cast<float>(of.depth) * step;
    tile_plan best = {tile_kind::none, 1, of.depth, cost};
    const tile_plan others[] = {
        plan_for<typename tiles<T>::flat, T>(tile_kind::flat, of, blocks, 300.0f * width),
        plan_for<typename tiles<T>::small, T>(tile_kind::small, of, blocks, 700.0f * width),
        plan_for<typename tiles<T>::large, T>(tile_kind::large, of, blocks, 2200.0f)};
    KS_UNROLLED
    for (int k = 0; k < 3; ++k) {
        best = others[k].cost < best.cost ? others[k] : best;
    }
    if (best.splits > 1) {
        constexpr int64_t terms = tiles<T>::large::terms;
        best.deep = (quotient(of.depth + best.splits - 1, best.splits) + terms - 1) / terms * terms;
        best.splits = quotient(of.depth + best.deep - 1, best.deep);
    }
    return best;
}

// Without tiles: neighbouring threads have neighbouring elements.
template <class T, class At>
__device__ inline void multiply_elements(const runtime &rt, const product_place<T> &c, const product_sizes &of, const At &at) {
    const int64_t area = of.rows * of.columns;
    for (int64_t e = rt.thread(); e < of.count * area; e += rt.threads()) {
        const int64_t k = of.count > 1 ? quotient(e, area) : 0, place = e - k * area;
        const int64_t i = quotient(place, of.columns), j = place - i * of.columns;
        const factors<T> now = at(k);
        const T *left = now.a.data + i * now.a.row, *right = now.b.data + j * now.b.column;
        T sum = 0;
        for (int64_t term = 0; term < of.depth; ++term, left += now.a.column, right += now.b.row) {
            sum += *left * *right;
        }
        c.data[k * area + i * c.row + j * c.column] = sum;
    }
}

// With tiles of one shape, of which the blocks take one after the other. Sums over parts of the terms lie one product after the other.
template <class Shape, class T, class At>
__device__ inline void multiply_tiles(const runtime &rt, const product_place<T> &c, const product_sizes &of, const tile_plan &plan, const At &at) {
    const bool all = rt.members() == team::grid;
    const int64_t blocks = all ? gridDim.x : 1, area = of.rows * of.columns;
    const int64_t down = quotient(of.rows + Shape::rows - 1, Shape::rows);
    const int64_t along = quotient(of.columns + Shape::columns - 1, Shape::columns);
    const int64_t items = of.count * plan.splits * down * along;
    for (int64_t item = all ? blockIdx.x : 0; item < items; item += blocks) {
        const int64_t line = quotient(item, along), column = (item - line * along) * Shape::columns;
        const int64_t part = quotient(line, down), row = (line - part * down) * Shape::rows;
        const int64_t k = plan.splits > 1 ? quotient(part, plan.splits) : part, split = part - k * plan.splits;
        const int64_t first = split * plan.deep, left = of.depth - first;
        const factors<T> now = at(k);
        const tile_task<T> task = {c.data + (split * of.count + k) * area + row * c.row + column * c.column,
                                   c.row,
                                   c.column,
                                   of.rows - row,
                                   of.columns - column,
                                   now.a.from(row, first),
                                   now.b.from(first, column),
                                   left < plan.deep ? left : plan.deep};
        multiply_tile<Shape>(task);
    }
}

// c[i] = parts[i] + parts[count + i] + …: a thread adds up an element, or the warps of a block some of its parts each.
template <class T> KS_NOINLINE void add_parts(const runtime &rt, T *c, const T *parts, int64_t count, int64_t splits) {
    constexpr int warps = block_size / warp_size;
    if (splits < 4 * warps || rt.members() != team::grid) {
        for (int64_t i = rt.thread(); i < count; i += rt.threads()) {
            T sum = parts[i];
            for (int64_t k = 1; k < splits; ++k) {
                sum += parts[k * count + i];
            }
            c[i] = sum;
        }
        return;
    }
    KS_SHARED(T, of_warps, block_size);
    const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
    const int64_t each = (splits + warps - 1) / warps, begin = warp * each;
    const int64_t end = begin + each < splits ? begin + each : splits;
    for (int64_t first = int64_t{blockIdx.x} * warp_size; first < count; first += int64_t{gridDim.x} * warp_size) {
        const bool is_there = first + lane < count;
        T sum = 0;
        for (int64_t k = begin; is_there && k < end; ++k) {
            sum += parts[k * count + first + lane];
        }
        of_warps[threadIdx.x] = sum;
        __syncthreads();
        if (warp == 0 && is_there) {
            for (int k = 1; k < warps; ++k) {
                sum += of_warps[k * warp_size + lane];
            }
            c[first + lane] = sum;
        }
        __syncthreads();
    }
}

// As planned; the threads have met before, and do so before anything reads c.
template <class T, class At>
__device__ inline void multiply_as(runtime &rt, const tile_plan &plan, const product_place<T> &c, const product_sizes &of, const At &at) {
    const scratch region(rt);
    const int64_t elements = of.count * of.rows * of.columns;
    product_place<T> place = c;
    if (plan.splits > 1) {
        place.data = rt.alloc<T>(plan.splits * elements);
    }
    switch (plan.kind) {
        case tile_kind::none: multiply_elements(rt, place, of, at); break;
        case tile_kind::flat: multiply_tiles<typename tiles<T>::flat>(rt, place, of, plan, at); break;
        case tile_kind::small: multiply_tiles<typename tiles<T>::small>(rt, place, of, plan, at); break;
        case tile_kind::large: multiply_tiles<typename tiles<T>::large>(rt, place, of, plan, at); break;
    }
    if (plan.splits > 1) {
        rt.meet();
        add_parts(rt, c.data, place.data, elements, plan.splits);
    }
}

// So many products of the same sizes, which lie one after the other, row by row: the k-th is that of the factors at(k).
template <class T, class At>
__device__ inline void multiply_all(runtime &rt, T *c, int64_t count, int64_t rows, int64_t columns, int64_t depth, const At &at) {
    rt.settle();
    if (count > 0 && rows > 0 && columns > 0) {
        const int64_t terms = depth > 0 ? depth : 0;
        // Tiles are wider than high, so a product of few columns is computed as its transpose.
        bool turned = columns < rows && columns <= 2 * tiles<T>::flat::rows;
        tile_plan plan = {tile_kind::none, 1, terms, 0.0f};
        if (terms > 0 && (rt.members() == team::grid || rt.members() == team::block)) {
            const product_sizes of = {count, turned ? columns : rows, turned ? rows : columns, terms};
            plan = best_plan<T>(of, rt.members() == team::grid ? static_cast<float>(gridDim.x) : 1.0f, at(0).b.column == 1);
        }
        turned = turned && plan.kind != tile_kind::none;
        const product_place<T> place = {c, turned ? 1 : columns, turned ? columns : 1};
        multiply_as(rt, plan, place, {count, turned ? columns : rows, turned ? rows : columns, terms}, [&](int64_t k) {
            const factors<T> now = at(k);
            return turned ? now.turned() : now;
        });
    }
    rt.part_ways();
}

template <class T> __device__ inline void multiply(runtime &rt, tensor<T, 2> c, matrix<T> a, matrix<T> b, int64_t depth) {
    multiply_all(rt, c.data, 1, c.size[0], c.size[1], depth, [=](int64_t) { return factors<T>{a, b}; });
}

}  // namespace ks

#endif
