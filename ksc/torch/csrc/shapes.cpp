#include "shapes.h"

#include <algorithm>
#include <sstream>

#include <ks/sizes.h>

#include "operator.h"

namespace ksc {
namespace {

using Ints = ks::size_arithmetic;

// The arithmetic of sizes on symbolic ints; where both are plain, it is the arithmetic of ints.
struct Symbolic {
    using S = c10::SymInt;
    static S add(const S& a, const S& b) { return plain(a, b) ? S(Ints::add(*a.maybe_as_int(), *b.maybe_as_int())) : a + b; }
    static S sub(const S& a, const S& b) { return plain(a, b) ? S(Ints::sub(*a.maybe_as_int(), *b.maybe_as_int())) : a - b; }
    static S mul(const S& a, const S& b) { return plain(a, b) ? S(Ints::mul(*a.maybe_as_int(), *b.maybe_as_int())) : a * b; }
    static S idiv(const S& a, const S& b) {
        return plain(a, b) ? S(Ints::idiv(*a.maybe_as_int(), *b.maybe_as_int())) : a / b;
    }
    static S imod(const S& a, const S& b) { return sub(a, mul(idiv(a, b), b)); }
    static S min(const S& a, const S& b) { return a.min(b); }
    static S max(const S& a, const S& b) { return a.max(b); }
    static bool is_negative(const S& a) { return a.maybe_as_int().has_value() && *a.maybe_as_int() < 0; }

  private:
    static bool plain(const S& a, const S& b) { return a.maybe_as_int().has_value() && b.maybe_as_int().has_value(); }
};

template <class Int>
using Arithmetic = std::conditional_t<std::is_same_v<Int, int64_t>, Ints, Symbolic>;

template <class Int>
Int evaluate(const SizeOp& op, const ShapeArgs<Int>& args, c10::ArrayRef<Int> done) {
    using Math = Arithmetic<Int>;
    const auto a = [&]() -> const Int& { return done[op.a]; };
    const auto b = [&]() -> const Int& { return done[op.b]; };
    switch (op.code) {
        case SizeCode::Const: return Int(op.a);
        case SizeCode::Size: return args.sizes[op.a][op.b];
        case SizeCode::Value: return args.values[op.a];
        case SizeCode::Add: return Math::add(a(), b());
        case SizeCode::Sub: return Math::sub(a(), b());
        case SizeCode::Mul: return Math::mul(a(), b());
        case SizeCode::Idiv: return Math::idiv(a(), b());
        case SizeCode::Imod: return Math::imod(a(), b());
        case SizeCode::Min: return Math::min(a(), b());
        case SizeCode::Max: return Math::max(a(), b());
        case SizeCode::Eq: return Int(a() == b());
        case SizeCode::Ne: return Int(a() != b());
        case SizeCode::Lt: return Int(a() < b());
        case SizeCode::Lte: return Int(a() <= b());
        case SizeCode::Gt: return Int(a() > b());
        case SizeCode::Gte: return Int(a() >= b());
        case SizeCode::And: return Int(a() != 0 && b() != 0);
        case SizeCode::Or: return Int(a() != 0 || b() != 0);
        case SizeCode::Not: return Int(a() == 0);
        case SizeCode::Select: return a() != 0 ? b() : done[op.c];
    }
    TORCH_INTERNAL_ASSERT(false);
}

[[noreturn]] void stop(const Operator& op, int line, const char* message) {
    Call call;
    call.record(KS_ERROR_INDEX, line, message);
    op.raise(call);
}

template <class Int>
Dims<Int> evaluate_all(const ShapeTable& table, const ShapeArgs<Int>& args) {
    Dims<Int> done;
    for (const SizeOp& step : table.ops) {
        done.push_back(evaluate<Int>(step, args, done));
    }
    return done;
}

// What a table says of each result, of all that was evaluated; calls `negative` with the line of a size below zero.
template <class Int, class Negative>
AllDims<Int> sizes_in(const ShapeTable& table, const Dims<Int>& done, Negative negative) {
    AllDims<Int> sizes(table.results.size());
    for (size_t r = 0; r < table.results.size(); ++r) {
        for (size_t d = 0; d < table.results[r].size(); ++d) {
            const Int& size = done[table.results[r][d]];
            if (Arithmetic<Int>::is_negative(size)) {
                negative(table.lines[r][d]);
            }
            sizes[r].push_back(size);
        }
    }
    return sizes;
}

constexpr const char* kNegative = "a tensor cannot have a negative size";

template <class Int>
AllDims<Int> primal_sizes(const Operator& op, const ShapeArgs<Int>& args) {
    const ShapeTable& table = op.family().shapes();
    Dims<Int> done;
    try {
        done = evaluate_all(table, args);
    } catch (const ks::size_failure& failure) {
        stop(op, 0, failure.message);
    }
    return sizes_in(table, done, [&](int line) { stop(op, line, kNegative); });
}

// The arguments of the operator that `op` was derived from: without seeds, and without the mapped dimension.
template <class Int>
ShapeArgs<Int> args_before(const Operator& op, const ShapeArgs<Int>& args) {
    const size_t count = op.from()->args().size();
    ShapeArgs<Int> before;
    for (size_t i = 0; i < count; ++i) {
        const Dims<Int>& sizes = args.sizes[i];
        const bool mapped = op.letter() == 'm' && op.seeds()[i];
        before.sizes.emplace_back(sizes.begin() + (mapped ? 1 : 0), sizes.end());
        before.values.push_back(args.values[i]);
    }
    return before;
}

template <class Int>
const Int& lane_count(const Operator& op, const ShapeArgs<Int>& args) {
    const size_t first = std::find(op.seeds().begin(), op.seeds().end(), true) - op.seeds().begin();
    return args.sizes[first][0];
}

template <class Int>
std::string written(const Dims<Int>& sizes) {
    std::ostringstream text;
    text << '(';
    for (size_t i = 0; i < sizes.size(); ++i) {
        text << (i == 0 ? "" : ", ") << sizes[i];
    }
    text << (sizes.size() == 1 ? ",)" : ")");
    return text.str();
}

template <class Int>
bool same_sizes(const Dims<Int>& a, const Dims<Int>& b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

template <class Int>
std::optional<Misfit> primal_misfit(const Operator& op, const ShapeArgs<Int>& args) {
    for (size_t i = 0; i < args.sizes.size(); ++i) {
        const Slot& slot = op.args()[i];
        const Dims<Int>& sizes = args.sizes[i];
        bool fits = sizes.size() == slot.sizes.size();
        for (size_t d = 0; fits && d < sizes.size(); ++d) {
            fits = slot.sizes[d] < 0 || sizes[d] == Int(slot.sizes[d]);
        }
        if (!fits) {
            std::ostringstream text;
            text << slot.sizes.size() << " dimension(s)";
            for (size_t d = 0; d < slot.sizes.size(); ++d) {
                if (slot.sizes[d] >= 0) {
                    text << ", of size " << slot.sizes[d] << " in dimension " << d;
                }
            }
            return Misfit{i, text.str()};
        }
    }
    return std::nullopt;
}

}  // namespace

template <class Int>
AllDims<Int> result_sizes(const Operator& op, const ShapeArgs<Int>& args) {
    const Operator* const from = op.from();
    if (from == nullptr) {
        return primal_sizes(op, args);
    }
    AllDims<Int> sizes;
    if (op.letter() == 'm') {
        sizes = result_sizes(*from, args_before(op, args));
        for (Dims<Int>& lane : sizes) {
            lane.insert(lane.begin(), lane_count(op, args));
        }
        return sizes;
    }
    if (op.letter() == 'j' || op.letter() == 'b') {
        AllDims<Int> values = result_sizes(*from, args_before(op, args));
        if (op.letter() == 'b') {
            sizes = std::move(values);
        } else {
            for (const size_t i : from->float_results()) {
                sizes.push_back(std::move(values[i]));
            }
        }
    }
    if (op.letter() != 'j') {
        for (const size_t i : from->float_args()) {
            sizes.push_back(args.sizes[i]);
        }
    }
    return sizes;
}

AllDims<int64_t> table_sizes(const ShapeTable& table, const ShapeArgs<int64_t>& args) {
    return sizes_in(table, evaluate_all(table, args), [](int) { throw ks::size_failure{kNegative}; });
}

int line_of_result(const Operator& op, size_t result) {
    const Operator* const from = op.from();
    if (from == nullptr) {
        for (const int line : op.family().shapes().lines[result]) {
            if (line != 0) {
                return line;
            }
        }
        return 0;
    }
    switch (op.letter()) {
        case 'm': return line_of_result(*from, result);
        case 'j': return line_of_result(*from, from->float_results()[result]);
        case 'b': return result < from->results().size() ? line_of_result(*from, result) : 0;
        default: return 0;
    }
}

template <class Int>
std::optional<Misfit> find_misfit(const Operator& op, const ShapeArgs<Int>& args) {
    const Operator* const from = op.from();
    if (from == nullptr) {
        return primal_misfit(op, args);
    }
    const size_t count = from->args().size();
    if (op.letter() == 'm') {
        for (size_t i = 0; i < count; ++i) {
            if (op.seeds()[i] && (args.sizes[i].empty() || !(args.sizes[i][0] == lane_count(op, args)))) {
                return Misfit{i, "as many lanes as the others"};
            }
        }
    }
    const ShapeArgs<Int> before = args_before(op, args);
    if (auto misfit = find_misfit(*from, before)) {
        return misfit;
    }
    if (op.letter() == 'm') {
        return std::nullopt;
    }
    AllDims<Int> owners = op.letter() == 'j' ? before.sizes : result_sizes(*from, before);
    const auto& positions = op.letter() == 'j' ? from->float_args() : from->float_results();
    size_t next = count;
    for (size_t k = 0; k < op.seeds().size(); ++k) {
        if (!op.seeds()[k]) {
            continue;
        }
        const Dims<Int>& owner = owners[positions[k % positions.size()]];
        if (!same_sizes(args.sizes[next], owner)) {
            return Misfit{next, "the shape " + written(owner)};
        }
        ++next;
    }
    return std::nullopt;
}

template AllDims<int64_t> result_sizes(const Operator&, const ShapeArgs<int64_t>&);
template AllDims<c10::SymInt> result_sizes(const Operator&, const ShapeArgs<c10::SymInt>&);
template std::optional<Misfit> find_misfit(const Operator&, const ShapeArgs<int64_t>&);
template std::optional<Misfit> find_misfit(const Operator&, const ShapeArgs<c10::SymInt>&);

}  // namespace ksc
