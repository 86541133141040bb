// The four problems of ADBench as a person would write them for speed: objectives, and derivatives where they are wanted.
// Tensors are contiguous and laid out as in the examples.
#include "ks/prelude.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace {

constexpr int LANES = 32;

double dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void cross(const double *a, const double *b, double *c) {
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

// y, x rotated by r; the derivatives by_r and by_x, (3, 3) each.
template <bool DERIVATIVE> void rotate(const double *r, const double *x, double *y, double *by_r, double *by_x) {
    const double square = dot(r, r), angle = square > 0.0 ? std::sqrt(square) : 1.0;
    const bool series = !(square > 0.0);
    const double c = series ? 1.0 : ks::cos(angle), s = series ? 1.0 : ks::sin(angle), rest = series ? 0.0 : 1.0 - c;
    const double w[3] = {r[0] / angle, r[1] / angle, r[2] / angle};
    double wx[3];
    cross(w, x, wx);
    const double along = dot(w, x);
    for (int i = 0; i < 3; ++i) {
        y[i] = x[i] * c + wx[i] * s + w[i] * (along * rest);
    }
    for (int k = 0; DERIVATIVE && k < 3; ++k) {
        double e[3] = {0.0, 0.0, 0.0}, dw[3], dwx[3], we[3];
        e[k] = 1.0;
        const double turn = series ? 0.0 : w[k];
        for (int i = 0; i < 3; ++i) {
            dw[i] = (e[i] - turn * w[i]) / angle;
        }
        cross(dw, x, dwx);
        cross(w, e, we);
        const double across = dot(dw, x);
        for (int i = 0; i < 3; ++i) {
            by_r[i * 3 + k] = turn * (c * wx[i] - s * x[i] + s * along * w[i]) + s * dwx[i] +
                              rest * (across * w[i] + along * dw[i]);
            by_x[i * 3 + k] = c * e[i] + s * we[i] + rest * w[k] * w[i];
        }
    }
}

// c = a b of affine maps (3, 4); ``shift`` is 1 where b is one, 0 where it is a tangent.
void compose(const double *a, const double *b, double shift, double *c) {
    for (int i = 0; i < 3; ++i) {
        for (int j = 0; j < 4; ++j) {
            const double own = j == 3 ? shift * a[i * 4 + 3] : 0.0;
            c[i * 4 + j] = a[i * 4] * b[j] + a[i * 4 + 1] * b[4 + j] + a[i * 4 + 2] * b[8 + j] + own;
        }
    }
}

void transform(const double *t, const double *p, double *y) {
    for (int i = 0; i < 3; ++i) {
        y[i] = dot(t + 4 * i, p) + t[4 * i + 3];
    }
}

constexpr int BONES = 22;

int finger_of(int64_t bone) { return bone >= 2 ? static_cast<int>(bone - 2) / 4 : -1; }

struct Hand {
    const int64_t *parents;
    const double *relatives, *inverses, *positions;
    const int64_t *first, *bones;
    const double *weights;
};

// What moves each bone, and its tangents by the four angles of the bone's own finger.
struct Pose {
    double maps[BONES][12], tangents[BONES][4][12];
};

template <bool DERIVATIVE> void pose_bones(const double *theta, const Hand &hand, Pose &pose) {
    double absolutes[BONES][12], moving[BONES][4][12];
    for (int b = 0; b < BONES; ++b) {
        const int finger = finger_of(b), joint = finger < 0 ? 3 : (b - 2) % 4;
        const double *t = theta + 6 + 4 * (finger < 0 ? 0 : finger);
        const double x = joint == 0 ? t[0] : joint == 1 ? t[2] : joint == 2 ? t[3] : 0.0, z = joint == 0 ? t[1] : 0.0;
        const double cx = std::cos(x), sx = std::sin(x), cz = std::cos(z), sz = std::sin(z);
        const double turns[3][12] = {{cz, -sz * cx, sz * sx, 0.0, sz, cz * cx, -cz * sx, 0.0, 0.0, sx, cx, 0.0},
                                     {0.0, sz * sx, sz * cx, 0.0, 0.0, -cz * sx, -cz * cx, 0.0, 0.0, cx, -sx, 0.0},
                                     {-sz, -cz * cx, cz * sx, 0.0, cz, -sz * cx, sz * sx, 0.0, 0.0, 0.0, 0.0, 0.0}};
        double frame[12], along[12];
        const int64_t parent = hand.parents[b];
        const double *relative = hand.relatives + 16 * b;
        if (parent < 0) {
            for (int k = 0; k < 12; ++k) {
                frame[k] = relative[k];
            }
        } else {
            compose(absolutes[parent], relative, 1.0, frame);
        }
        compose(frame, turns[0], 1.0, absolutes[b]);
        compose(absolutes[b], hand.inverses + 16 * b, 1.0, pose.maps[b]);
        for (int q = 0; DERIVATIVE && finger >= 0 && q < 4; ++q) {
            double *out = moving[b][q];
            for (int k = 0; k < 12; ++k) {
                out[k] = 0.0;
            }
            if (parent >= 0 && finger_of(parent) == finger) {
                compose(moving[parent][q], relative, 1.0, along);
                compose(along, turns[0], 1.0, out);
            }
            const int own = (joint == 0 && q == 0) || (joint == 1 && q == 2) || (joint == 2 && q == 3) ? 1 : joint == 0 && q == 1 ? 2 : 0;
            if (own != 0) {
                compose(frame, turns[own], 0.0, along);
                for (int k = 0; k < 12; ++k) {
                    out[k] += along[k];
                }
            }
            compose(out, hand.inverses + 16 * b, 1.0, pose.tangents[b][q]);
        }
    }
}

// A vertex, and by_theta (26, 3), which is 0 at first.
template <bool DERIVATIVE>
void pose_vertex(const Hand &hand, const Pose &pose, const double *theta, const double *rotation, const double *turned,
                 int64_t j, double *vertex, double *by_theta) {
    const double *p = hand.positions + 3 * j;
    double blended[3] = {0.0, 0.0, 0.0}, parts[20][3], y[3];
    unsigned fingers = 0;
    for (int64_t e = hand.first[j]; e < hand.first[j + 1]; ++e) {
        const int64_t bone = hand.bones[e];
        transform(pose.maps[bone], p, y);
        for (int i = 0; i < 3; ++i) {
            blended[i] += hand.weights[e] * y[i];
        }
        const int finger = finger_of(bone);
        for (int q = 0; DERIVATIVE && finger >= 0 && q < 4; ++q) {
            double *part = parts[4 * finger + q];
            transform(pose.tangents[bone][q], p, y);
            for (int i = 0; i < 3; ++i) {
                part[i] = ((fingers >> finger & 1) != 0 ? part[i] : 0.0) + hand.weights[e] * y[i];
            }
        }
        fingers |= finger < 0 ? 0u : 1u << finger;
    }
    for (int i = 0; i < 3; ++i) {
        vertex[i] = dot(rotation + 3 * i, blended) + theta[3 + i];
        for (int k = 0; DERIVATIVE && k < 3; ++k) {
            by_theta[k * 3 + i] = dot(turned + 9 * k + 3 * i, blended);
            by_theta[(3 + k) * 3 + i] = i == k ? 1.0 : 0.0;
        }
        for (int q = 0; DERIVATIVE && q < 20; ++q) {
            if ((fingers >> q / 4 & 1) != 0) {
                by_theta[(6 + q) * 3 + i] = dot(rotation + 3 * i, parts[q]);
            }
        }
    }
}

template <bool DERIVATIVE>
void hand_of(const double *theta, const double *u, const Hand &hand, int64_t vertices, const int64_t *triangles,
             int64_t count, const int64_t *which, const double *points, double *errors, double *by_u, double *by_theta) {
    Pose pose;
    double rotation[9] = {1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0}, turned[27] = {};
    pose_bones<DERIVATIVE>(theta, hand, pose);
    for (int column = 0; column < 3 && std::sqrt(dot(theta, theta)) >= 1e-4; ++column) {
        double e[3] = {0.0, 0.0, 0.0}, y[3], by_r[9], by_x[9];
        e[column] = 1.0;
        rotate<true>(theta, e, y, by_r, by_x);
        for (int i = 0; i < 3; ++i) {
            rotation[i * 3 + column] = y[i];
            for (int k = 0; k < 3; ++k) {
                turned[k * 9 + i * 3 + column] = by_r[i * 3 + k];
            }
        }
    }
    std::vector<double> posed(3 * vertices), moved(DERIVATIVE ? 78 * vertices : 0);
    std::vector<char> wanted(vertices, u != nullptr);
    for (int64_t i = 0; u == nullptr && i < count; ++i) {
        wanted[which[i]] = 1;
    }
    for (int64_t j = 0; j < vertices; ++j) {
        if (wanted[j] != 0) {
            pose_vertex<DERIVATIVE>(hand, pose, theta, rotation, turned, j, &posed[3 * j], DERIVATIVE ? &moved[78 * j] : nullptr);
        }
    }
    for (int64_t i = 0; i < count; ++i) {
        const int64_t *t = u == nullptr ? which + i : triangles + 3 * which[i];
        const double s[3] = {u == nullptr ? 1.0 : u[2 * i], u == nullptr ? 0.0 : u[2 * i + 1], 0.0};
        const double last = 1.0 - s[0] - s[1];
        for (int k = 0; k < 3; ++k) {
            double place = posed[3 * t[0] + k];
            if (u != nullptr) {
                const double a = place, b = posed[3 * t[1] + k], c = posed[3 * t[2] + k];
                place = s[0] * a + s[1] * b + last * c;
                if (DERIVATIVE) {
                    by_u[(3 * i + k) * 2] = c - a;
                    by_u[(3 * i + k) * 2 + 1] = c - b;
                }
            }
            errors[3 * i + k] = points[3 * i + k] - place;
            double *row = by_theta + (3 * i + k) * 26;
            for (int q = 0; DERIVATIVE && u == nullptr && q < 26; ++q) {
                row[q] = -moved[78 * t[0] + 3 * q + k];
            }
            for (int q = 0; DERIVATIVE && u != nullptr && q < 26; ++q) {
                row[q] = -(s[0] * moved[78 * t[0] + 3 * q + k] + s[1] * moved[78 * t[1] + 3 * q + k] + last * moved[78 * t[2] + 3 * q + k]);
            }
        }
    }
}

}  // namespace

// The log posterior but for what depends on the prior and the number of points alone; its gradient is added to bars.
extern "C" double gmm(int64_t n, int64_t d, int64_t components, const double *alphas, const double *means,
                      const double *icf, const double *x, double *alphas_bar, double *means_bar, double *icf_bar) {
    const int64_t size = d * (d + 1) / 2, row = d * LANES;
    std::vector<double> scale(components * d), sums(components), at(row), terms(components * LANES), t(row);
    std::vector<double> centred(components * row), residuals(components * row);
    double largest = alphas[0], all = 0.0, total = 0.0;
    for (int64_t k = 0; k < components; ++k) {
        largest = alphas[k] > largest ? alphas[k] : largest;
        for (int64_t i = 0; i < d; ++i) {
            scale[k * d + i] = ks::exp(icf[k * size + i]);
            sums[k] += icf[k * size + i];
        }
    }
    for (int64_t k = 0; k < components; ++k) {
        all += ks::exp(alphas[k] - largest);
    }
    all = largest + std::log(all);
    for (int64_t start = 0; start < n; start += LANES) {
        const int live = n - start < LANES ? static_cast<int>(n - start) : LANES;
        for (int64_t i = 0; i < d; ++i) {
            for (int p = 0; p < LANES; ++p) {
                at[i * LANES + p] = x[(start + (p < live ? p : 0)) * d + i];
            }
        }
        double most[LANES] = {}, sum[LANES] = {};
        for (int64_t k = 0; k < components; ++k) {
            double *xc = &centred[k * row], *r = &residuals[k * row], squares[LANES] = {};
            const double *lower = icf + k * size + d;
            for (int64_t i = 0; i < d; ++i) {
                for (int p = 0; p < LANES; ++p) {
                    xc[i * LANES + p] = at[i * LANES + p] - means[k * d + i];
                    r[i * LANES + p] = scale[k * d + i] * xc[i * LANES + p];
                }
            }
            for (int64_t j = 0; j < d; ++j) {
                for (int64_t i = j + 1; i < d; ++i, ++lower) {
                    for (int p = 0; p < LANES; ++p) {
                        r[i * LANES + p] += *lower * xc[j * LANES + p];
                    }
                }
            }
            for (int64_t i = 0; i < d; ++i) {
                for (int p = 0; p < LANES; ++p) {
                    squares[p] += r[i * LANES + p] * r[i * LANES + p];
                }
            }
            for (int p = 0; p < LANES; ++p) {
                const double term = alphas[k] + sums[k] - 0.5 * squares[p];
                terms[k * LANES + p] = term;
                most[p] = k == 0 || term > most[p] ? term : most[p];
            }
        }
        for (int64_t k = 0; k < components; ++k) {
            for (int p = 0; p < LANES; ++p) {
                terms[k * LANES + p] = ks::exp(terms[k * LANES + p] - most[p]);
                sum[p] += terms[k * LANES + p];
            }
        }
        for (int p = 0; p < LANES; ++p) {
            total += p < live ? most[p] + std::log(sum[p]) : 0.0;
            sum[p] = p < live ? 1.0 / sum[p] : 0.0;
        }
        for (int64_t k = 0; alphas_bar != nullptr && k < components; ++k) {
            const double *xc = &centred[k * row], *lower = icf + k * size + d;
            double *r = &residuals[k * row], *bar = icf_bar + k * size, *lower_bar = bar + d, w[LANES], whole = 0.0;
            for (int p = 0; p < LANES; ++p) {
                w[p] = terms[k * LANES + p] * sum[p];
                whole += w[p];
            }
            if (whole == 0.0) {
                continue;
            }
            alphas_bar[k] += whole;
            for (int64_t i = 0; i < d; ++i) {
                double scale_bar = 0.0;
                KS_SUM(scale_bar)
                for (int p = 0; p < LANES; ++p) {
                    r[i * LANES + p] *= w[p];
                    t[i * LANES + p] = scale[k * d + i] * r[i * LANES + p];
                    scale_bar += t[i * LANES + p] * xc[i * LANES + p];
                }
                bar[i] += whole - scale_bar;
            }
            for (int64_t j = 0; j < d; ++j) {
                double column[LANES], bars[LANES], mean_bar = 0.0;
                for (int p = 0; p < LANES; ++p) {
                    column[p] = xc[j * LANES + p];
                    bars[p] = t[j * LANES + p];
                }
                for (int64_t i = j + 1; i < d; ++i, ++lower, ++lower_bar) {
                    const double *__restrict own = &r[i * LANES];
                    const double factor = *lower;
                    double product = 0.0;
                    KS_SUM(product)
                    for (int p = 0; p < LANES; ++p) {
                        bars[p] += factor * own[p];
                        product += own[p] * column[p];
                    }
                    *lower_bar -= product;
                }
                KS_SUM(mean_bar)
                for (int p = 0; p < LANES; ++p) {
                    mean_bar += bars[p];
                }
                means_bar[k * d + j] += mean_bar;
            }
        }
    }
    for (int64_t k = 0; alphas_bar != nullptr && k < components; ++k) {
        alphas_bar[k] -= static_cast<double>(n) * ks::exp(alphas[k] - all);
    }
    return total - static_cast<double>(n) * all;
}

extern "C" void ba(int64_t p, const double *cameras, const double *points, const double *weights,
                   const int64_t *camera_of, const int64_t *point_of, const double *features, double *errors,
                   double *weight_errors, double *blocks, double *singles) {
    for (int64_t o = 0; o < p; ++o) {
        const double *camera = cameras + 11 * camera_of[o], *point = points + 3 * point_of[o];
        const double moved[3] = {point[0] - camera[3], point[1] - camera[4], point[2] - camera[5]};
        double y[3], by_r[9], by_x[9];
        if (blocks == nullptr) {
            rotate<false>(camera, moved, y, by_r, by_x);
        } else {
            rotate<true>(camera, moved, y, by_r, by_x);
        }
        const double a[2] = {y[0] / y[2], y[1] / y[2]}, s = a[0] * a[0] + a[1] * a[1];
        const double f = camera[6], k1 = camera[9], k2 = camera[10], w = weights[o], bent = 1.0 + k1 * s + k2 * s * s;
        const double slope = 2.0 * (k1 + 2.0 * k2 * s);
        for (int i = 0; i < 2; ++i) {
            const double error = f * bent * a[i] + camera[7 + i] - features[2 * o + i];
            if (blocks == nullptr) {
                errors[2 * o + i] = w * error;
                continue;
            }
            double *row = blocks + (2 * o + i) * 15;
            const double by_a[2] = {w * f * ((i == 0 ? bent : 0.0) + slope * a[i] * a[0]),
                                    w * f * ((i == 1 ? bent : 0.0) + slope * a[i] * a[1])};
            const double by_y[3] = {by_a[0] / y[2], by_a[1] / y[2], -(by_a[0] * a[0] + by_a[1] * a[1]) / y[2]};
            for (int k = 0; k < 3; ++k) {
                row[k] = by_y[0] * by_r[k] + by_y[1] * by_r[3 + k] + by_y[2] * by_r[6 + k];
                row[11 + k] = by_y[0] * by_x[k] + by_y[1] * by_x[3 + k] + by_y[2] * by_x[6 + k];
                row[3 + k] = -row[11 + k];
            }
            row[6] = w * bent * a[i];
            row[7] = i == 0 ? w : 0.0;
            row[8] = i == 1 ? w : 0.0;
            row[9] = w * f * s * a[i];
            row[10] = row[9] * s;
            row[14] = error;
        }
        if (blocks == nullptr) {
            weight_errors[o] = 1.0 - w * w;
        } else {
            singles[o] = -2.0 * w;
        }
    }
}

extern "C" void hand(const double *theta, const double *u, const int64_t *parents, const double *relatives,
                     const double *inverses, const double *positions, const int64_t *first, const int64_t *bones,
                     const double *weights, int64_t vertices, const int64_t *triangles, int64_t count,
                     const int64_t *which, const double *points, double *errors, double *by_u, double *by_theta) {
    const Hand model{parents, relatives, inverses, positions, first, bones, weights};
    const auto run = by_theta == nullptr ? hand_of<false> : hand_of<true>;
    run(theta, u, model, vertices, triangles, count, which, points, errors, by_u, by_theta);
}

extern "C" double lstm(int64_t layers, int64_t characters, int64_t b, const double *main, const double *extra,
                       const double *start, const double *sequence, double *main_bar, double *extra_bar) {
    const int64_t steps = characters - 1, row = 6 * b, width = layers * row, kept = main_bar != nullptr ? 1 : 0;
    const double factor = -1.0 / static_cast<double>(steps * b);
    // Of each step and layer: forget, in, out, change, the cell after it, tanh of that.
    std::vector<double> tape(width * (kept * (steps - 1) + 1)), outputs(layers * b * steps), ys(steps * b), sums(steps);
    std::vector<double> hidden(layers * b), cell(layers * b), input(b);
    for (int64_t k = 0; k < layers * b; ++k) {
        hidden[k] = start[2 * (k / b) * b + k % b];
        cell[k] = start[(2 * (k / b) + 1) * b + k % b];
    }
    double total = 0.0;
    for (int64_t t = 0; t < steps; ++t) {
        for (int64_t i = 0; i < b; ++i) {
            input[i] = sequence[t * b + i] * extra[i];
        }
        const double *x = input.data();
        for (int64_t l = 0; l < layers; ++l) {
            const double *__restrict w = main + 8 * l * b, *__restrict bias = w + 4 * b;
            double *__restrict g = &tape[kept * t * width + l * row], *__restrict h = &hidden[l * b], *__restrict c = &cell[l * b];
            KS_APART
            for (int64_t i = 0; i < b; ++i) {
                g[i] = 1.0 / (1.0 + ks::exp(-(x[i] * w[i] + bias[i])));
                g[b + i] = 1.0 / (1.0 + ks::exp(-(h[i] * w[b + i] + bias[b + i])));
                g[2 * b + i] = 1.0 / (1.0 + ks::exp(-(x[i] * w[2 * b + i] + bias[2 * b + i])));
                g[3 * b + i] = ks::tanh(h[i] * w[3 * b + i] + bias[3 * b + i]);
                c[i] = c[i] * g[i] + g[b + i] * g[3 * b + i];
                g[4 * b + i] = c[i];
                g[5 * b + i] = ks::tanh(c[i]);
                h[i] = g[2 * b + i] * g[5 * b + i];
            }
            for (int64_t i = 0; i < b; ++i) {
                outputs[(t * layers + l) * b + i] = h[i];
            }
            x = h;
        }
        const double *next = sequence + (t + 1) * b;
        double sum = 0.0, dots = 0.0, all = 0.0;
        KS_SUM(sum, dots, all)
        for (int64_t i = 0; i < b; ++i) {
            const double y = x[i] * extra[b + i] + extra[2 * b + i], power = ks::exp(y);
            ys[t * b + i] = power;
            sum += power;
            dots += next[i] * y;
            all += next[i];
        }
        total += dots - all * std::log(2.0 + sum);
        sums[t] = all / (2.0 + sum);
    }
    if (main_bar == nullptr) {
        return total * factor;
    }
    std::vector<double> h_bar(layers * b), c_bar(layers * b), x_bar(b);
    std::fill(main_bar, main_bar + 8 * layers * b, 0.0);
    std::fill(extra_bar, extra_bar + 3 * b, 0.0);
    for (int64_t t = steps - 1; t >= 0; --t) {
        const double *top = &outputs[(t * layers + layers - 1) * b];
        for (int64_t i = 0; i < b; ++i) {
            const double bar = factor * (sequence[(t + 1) * b + i] - sums[t] * ys[t * b + i]);
            extra_bar[b + i] += bar * top[i];
            extra_bar[2 * b + i] += bar;
            x_bar[i] = bar * extra[b + i];
            input[i] = sequence[t * b + i] * extra[i];
        }
        for (int64_t l = layers - 1; l >= 0; --l) {
            const double *__restrict w = main + 8 * l * b, *__restrict g = &tape[t * width + l * row];
            double *__restrict w_bar = main_bar + 8 * l * b, *__restrict hb = &h_bar[l * b], *__restrict cb = &c_bar[l * b];
            double *__restrict xb = x_bar.data();
            const double *__restrict h_before = t > 0 ? &outputs[((t - 1) * layers + l) * b] : start + 2 * l * b;
            const double *__restrict c_before = t > 0 ? g - width + 4 * b : start + (2 * l + 1) * b;
            const double *__restrict x = l > 0 ? &outputs[(t * layers + l - 1) * b] : input.data();
            KS_APART
            for (int64_t i = 0; i < b; ++i) {
                const double forget = g[i], in = g[b + i], out = g[2 * b + i], z = g[3 * b + i], th = g[5 * b + i];
                const double h = hb[i] + xb[i], c = cb[i] + h * out * (1.0 - th * th);
                const double f_bar = c * c_before[i] * forget * (1.0 - forget), i_bar = c * z * in * (1.0 - in);
                const double o_bar = h * th * out * (1.0 - out), z_bar = c * in * (1.0 - z * z);
                w_bar[i] += f_bar * x[i];
                w_bar[b + i] += i_bar * h_before[i];
                w_bar[2 * b + i] += o_bar * x[i];
                w_bar[3 * b + i] += z_bar * h_before[i];
                w_bar[4 * b + i] += f_bar;
                w_bar[5 * b + i] += i_bar;
                w_bar[6 * b + i] += o_bar;
                w_bar[7 * b + i] += z_bar;
                hb[i] = i_bar * w[b + i] + z_bar * w[3 * b + i];
                cb[i] = c * forget;
                xb[i] = f_bar * w[i] + o_bar * w[2 * b + i];
            }
        }
        for (int64_t i = 0; i < b; ++i) {
            extra_bar[i] += x_bar[i] * sequence[t * b + i];
        }
    }
    return total * factor;
}
