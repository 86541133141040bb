"""Branches and loops, each against Python."""

import math

import pytest
from oracle import check

XS = [-2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 7.5, math.inf, math.nan]
NS = [-3, -1, 0, 1, 2, 5, 11]
PAIRS = [(x, n) for x in (-1.5, 0.0, 0.5, 2.0) for n in NS]

CASES = []


def case(inputs):
    def add(fn):
        CASES.append(pytest.param(fn, inputs, id=fn.__name__))
        return fn

    return add


@case(XS)
def elif_chain(x: float):
    if x < -1:
        y = -1.0
    elif x < 0:
        y = x
    elif x == 0:
        y = 0.5
    else:
        y = 1 / x
    return y


@case(XS)
def early_returns(x: float):
    if x > 5:
        return 5.0
    y = x * 2
    if y < -3:
        return -3.0
    if y < 0:
        if x < -1:
            return y + 1
        y = y - 1
    else:
        if x > 1:
            return y * y
        y = y + 1
    return y * 10


@case(XS)
def return_on_one_deep_path(x: float):
    y = 0.0
    if x > 0:
        if x > 1:
            if x > 2:
                return 100.0
            y = 1.0
        else:
            y = 2.0
    y = y + x
    return y


@case(XS)
def weak_constants(x: float):
    if x > 2:
        return 2
    if x < 0:
        if x < -1:
            return 0
        else:
            return 1
    return x


@case(XS)
def ternaries(x: float):
    y = 1 if x > 0 else -1 if x < 0 else 0
    return x + y if x != 0 else 1.5


@case([(x, y) for x in XS for y in (-1.0, 0.0, 2.0, math.nan)])
def logic(x: float, y: float):
    a = x > 0 and y > 0
    b = x > 0 or y > 0
    c = not a and not (b and x == y)
    return (a, b, c, 1.0 if a or c else 2.0)


@case([(x, y) for x in XS[:7] for y in (-1.0, 0.0, 2.0)])
def values_of_and_and_or(x: float, y: float):
    return (x and y, x or y, x or 1.5, x and y and 3.0, x or y or -1.0)


@case([(x, n) for x in XS[:7] for n in (0, 1, 3)])
def short_circuit(x: float, n: int):
    a = n != 0 and 6 // n > 1
    b = n == 0 or 6 % n == 0
    if n != 0 and 10 // n > 4 and x > 0:
        return x
    return 1.0 if a else 2.0 if b else 3.0


@case([(a, b, c) for a in (-1, 0, 1) for b in (0, 1) for c in (0, 2)])
def chained_comparisons(a: int, b: int, c: int):
    return (a < b < c, a <= b <= c, a < b > c, a == b == c, a != b != c, 0 <= a < 1)


@case(PAIRS)
def range_sum(x: float, n: int):
    s = 0
    for i in range(n):
        s += x * i
    return s * 1.0


@case([(a, b, s) for a in (-3, 0, 4) for b in (-4, 0, 5) for s in (-3, -2, -1, 1, 2, 3)])
def range_with_dynamic_step(a: int, b: int, s: int):
    total = 0
    count = 0
    for i in range(a, b, s):
        total += i * i
        count += 1
    return total, count


@case([(a, b) for a in (-3, 0, 4) for b in (-4, 0, 5)])
def range_with_static_steps(a: int, b: int):
    total = 0
    for i in range(a, b):
        total = (total * 3 + i) % 1000
    for i in range(a, b, 2):
        total = (total * 3 + i) % 1000
    for i in range(b, a, -1):
        total = (total * 5 + i) % 1000
    for i in range(b, a, -3):
        total = (total * 7 + i) % 1000
    for i in reversed(range(a, b)):
        total = (total * 11 + i) % 1000
    return total


@case(PAIRS)
def loop_with_break(x: float, n: int):
    s = 0.0
    for i in range(n):
        if s > 3:
            break
        s += x + i
    return s


@case(PAIRS)
def loop_with_continue(x: float, n: int):
    s = 0.0
    for i in range(n):
        if i % 2 == 0:
            continue
        if x > 1:
            s += 1
            continue
        s += x + i
    return s


@case(PAIRS)
def return_in_loop(x: float, n: int):
    s = 0.0
    for i in range(n):
        s += x
        if s > 3:
            return s * 100 + i
    return s


@case(PAIRS)
def everything_in_loop(x: float, n: int):
    s = 0.0
    for i in range(n):
        if i == 1:
            continue
        if x + i > 8:
            break
        if s < -10:
            return -1.0
        s += x * i
        if i == 3:
            s += 1
            if x < 0:
                continue
            s += 2
        s += 0.5
    else:
        s += 1000
    return s


@case(PAIRS)
def for_else(x: float, n: int):
    r = 0.5
    for i in range(n):
        if x * i > 3:
            r = float(i)
            break
    else:
        r = -1.0
    return r


@case(PAIRS)
def while_else(x: float, n: int):
    k = 0
    while k < n:
        k += 2
        if x * k > 5:
            break
    else:
        k = k + 100
    return k


@case([2.0, 3.0, 11.0, 1.5])
def squaring(v: float):
    while v < 10:
        v = v * v
    return v


@case([0, 1, 2, 7, 27])
def collatz(n: int):
    steps = 0
    while n > 1:
        if n % 2 == 0:
            n //= 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@case([0.5, 2.0, 9.0])
def newton(x: float):
    y = x
    while True:
        z = 0.5 * (y + x / y)
        if abs(z - y) < 1e-12:
            break
        y = z
    return z


@case([0.5, 2.0, 9.0])
def endless_with_return(x: float):
    k = 0
    while True:
        x = x * 2
        k += 1
        if x > 100:
            return x, k


@case([5, 0, 3])
def while_of_a_number(n: int):
    s = 0
    while n:
        s += n
        n -= 1
    return s


@case(PAIRS)
def nested_loops(x: float, n: int):
    s = 0.0
    for i in range(n):
        for j in range(i):
            if j == 2:
                break
            s += x * j
        else:
            s += 0.25
        k = 0
        while k < i:
            if s > 10:
                return s
            k += 1
            s += 0.125
    return s


@case(PAIRS)
def variable_after_loop(x: float, n: int):
    i = -7
    for i in range(n):  # noqa: B007
        pass
    for j in range(3):
        y = x + j
    return i, j, y


@case([(x, n) for x in (0.5, 2.0) for n in (0, 3)])
def static_loops(x: float, n: int):
    s = 0.0
    for w in (1.0, 2.0, 3.0):
        if w > x and n > 1:
            continue
        s += w * x
        if s > 5:
            break
    for k, (a, b) in enumerate(zip((1, 2), (x, 3.0), strict=True)):
        s += a * b + k
    for key, value in {"a": x, "b": 2.0}.items():
        s += value * len(key)
    return s


@case([(x, n) for x in (0.5, 2.0) for n in (0, 3)])
def return_in_static_loop(x: float, n: int):
    for w in (1.0, 2.0, 3.0):
        x *= w
        if x > 3:
            return x + w
    else:
        x += n
    return x


@case(XS[:6])
def unrolled_for_static_index(x: float):
    weights = (0.5, 1.5, x)
    s = 0.0
    for i in range(3):
        s += weights[i] * x**i
    out = []
    for i in range(4):
        out = out + [s * i]  # noqa: RUF005
    return out


@case(PAIRS)
def static_trip_count(x: float, n: int):
    s = x
    for i in range(2, 10, 3):
        s = s * 0.5 + i
    for _ in range(0):
        s = None
    return s


@case(PAIRS)
def tuple_carried(x: float, n: int):
    state = (x, 1.0)
    for _ in range(n):
        a, b = state
        state = (a + b, a)
    return state


@case(PAIRS)
def swap_in_loop(x: float, n: int):
    a, b = x, 1.0
    for _ in range(n):
        a, b = b, a + b
    return a


@case([(x, n) for x in (0.5, 2.0) for n in (0, 1, 5)])
def local_types_differ_where_unused(x: float, n: int):
    if x > 1:
        t = n
        y = x + t
    else:
        t = 0.5
        y = x - t
    for i in range(n):
        t = i * 2 if n else 3
        u = t * 0.5
        y += u
    return y


@case([-1.0, 0.5])
def assertion(x: float):
    assert x < 10, "too large"
    assert x == x
    return x


@case([-1.0, 0.5, 3.0])
def walrus(x: float):
    if (y := x * 2) > 1:
        y += 1
    z = (w := y + 1) * w
    return y + z if (v := z) > 2 else v


@case([0.5, 3.0])
def walrus_in_while(x: float):
    k = 0
    while (y := x * k) < 10:
        k += 1
    return y, k


@case([(x, n) for x in (0.5, 3.0) for n in (0, 1, 2, 5)])
def flags_and_counts(x: float, n: int):
    found = False
    count = 0
    for i in range(n):
        if x * i > 2:
            found = True
            count += 1
    return found, count, x if found else -x


@case([(x, n) for x in (0.5, 3.0) for n in (0, 1, 2, 5)])
def truthiness(x: float, n: int):
    a = 1 if n else 2
    b = 1 if x else 2
    c = 1 if not n else 2
    d = 1 if () else 2
    e = 1 if (n, x) and "text" else 2
    return a, b, c, d, e, bool(n), bool(x)


@pytest.mark.parametrize("fn, inputs", CASES)
def test_against_python(fn, inputs):
    check(fn, inputs)


def test_variables_called_like_the_exits_of_a_loop():
    def f(x: float, n: int):
        result, broke, returned = 1.0, 2.0, 3.0
        for i in range(n):
            result, broke, returned = broke * x, returned, result
            if result > 9:
                break
            if i > 5:
                return broke, returned, result
        return result, broke, returned

    check(f, PAIRS)


def test_break_in_the_else_of_a_loop_leaves_the_one_around_it():
    def f(x: float, n: int):
        s = 0.0
        for w in (0.5, x):
            s += w
            for i in range(n):
                if i == 3:
                    break
                s += i
            else:
                if s > 1:
                    break
                s += 10
        k = 0
        while k < n:
            k += 1
            for _ in range(n):
                s += 1
                if s > 20:
                    break
            else:
                break
        return s, k

    check(f, PAIRS)


def test_continue_under_a_nested_branch_of_an_unrolled_loop():
    def f(x: float, n: int):
        s = 0.0
        for w in (0.5, x, 2.0):
            if w > 0:
                if n > 1:
                    continue
                s += 1
            else:
                s += w
            s += 100
        else:
            s += 0.25
        return s

    check(f, PAIRS)


def test_while_over_constants_is_unrolled_where_its_body_needs_them():
    def pick(t, k):
        return t[k]

    def f(x: float, n: int):
        weights = (1.0, 2.0, x)
        s, k = 0.0, 0
        while k < 3:
            s += pick(weights, k)
            k += 1
            if s > n:
                break
        else:
            s += 100
        for j in range(2):
            s += pick(weights, j)
        return s, k

    check(f, PAIRS)
