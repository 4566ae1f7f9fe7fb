/* Numbers as text, and back. What needs more than a double has is counted in whole numbers of 4096 bits. */
#include "number.h"

#include <string.h>

#define WORDS 128
#define MAX_DIGITS 770 /* more cannot change the nearest double, but by not being 0 */

struct big {
    uint32_t count; /* words in use; none is 0 at the top */
    uint32_t word[WORDS];
};

static void big_set(struct big *big, uint64_t number)
{
    big->count = 0;
    for (; number != 0; number >>= 32)
        big->word[big->count++] = (uint32_t)number;
}

static void big_multiply_add(struct big *big, uint32_t factor, uint32_t addend)
{
    uint64_t carry = addend;
    for (uint32_t index = 0; index < big->count; index++) {
        carry += (uint64_t)big->word[index] * factor;
        big->word[index] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry != 0 && big->count < WORDS)
        big->word[big->count++] = (uint32_t)carry;
}

static void big_power_of_ten(struct big *big, uint32_t exponent)
{
    for (; exponent >= 9; exponent -= 9)
        big_multiply_add(big, 1000000000, 0);
    uint32_t rest = 1;
    while (exponent-- > 0)
        rest *= 10;
    big_multiply_add(big, rest, 0);
}

static void big_shift(struct big *big, uint32_t bits)
{
    uint32_t words = bits / 32, rest = bits % 32;
    if (big->count == 0)
        return;
    if (big->count + words + 1 > WORDS)
        return;
    big->word[big->count] = 0;
    for (uint32_t index = big->count + 1; index-- > 0;) {
        uint64_t pair = (uint64_t)big->word[index] << 32 | (index > 0 ? big->word[index - 1] : 0);
        big->word[index + words] = (uint32_t)(pair << rest >> 32);
    }
    for (uint32_t index = 0; index < words; index++)
        big->word[index] = 0;
    big->count += words + 1;
    while (big->count > 0 && big->word[big->count - 1] == 0)
        big->count--;
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count)
        return a->count > b->count ? 1 : -1;
    for (uint32_t index = a->count; index-- > 0;)
        if (a->word[index] != b->word[index])
            return a->word[index] > b->word[index] ? 1 : -1;
    return 0;
}

/* a - b, which is not negative. */
static void big_subtract(struct big *a, const struct big *b)
{
    int64_t borrow = 0;
    for (uint32_t index = 0; index < a->count; index++) {
        int64_t word = (int64_t)a->word[index] - (index < b->count ? b->word[index] : 0) + borrow;
        a->word[index] = (uint32_t)word;
        borrow = word >> 32;
    }
    while (a->count > 0 && a->word[a->count - 1] == 0)
        a->count--;
}

static void big_add(struct big *a, const struct big *b)
{
    uint64_t carry = 0;
    for (uint32_t index = 0; index < b->count || carry != 0; index++) {
        if (index == a->count) {
            if (a->count == WORDS)
                return;
            a->word[a->count++] = 0;
        }
        carry += (uint64_t)a->word[index] + (index < b->count ? b->word[index] : 0);
        a->word[index] = (uint32_t)carry;
        carry >>= 32;
    }
}

static uint32_t big_bits(const struct big *big)
{
    return big->count == 0 ? 0 : big->count * 32 - (uint32_t)__builtin_clz(big->word[big->count - 1]);
}

size_t number_of_int(int64_t number, char *to)
{
    char digits[20];
    size_t count = 0, size = 0;
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0)
        to[size++] = '-';
    while (count > 0)
        to[size++] = digits[--count];
    return size;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return bits;
}

static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Shortest digits of a positive number, which is 0.DIGITS times ten to `point`. Answers how many.
 *
 * Steele and White's, with what lies half way to the neighbours kept as whole numbers over one denominator. */
static unsigned shortest(double number, char *digits, int *point)
{
    /* Most numbers in programs have few digits: such a number is a whole one over a power of ten, both exact. */
    if (number >= 1e-5 && number < 1e15) {
        for (unsigned places = 0; places <= 20; places++) {
            double scaled = number * TENS[places];
            if (scaled >= 1e15)
                break;
            int64_t whole = (int64_t)(scaled + 0.5);
            if (whole != 0 && (double)whole / TENS[places] == number) {
                unsigned count = (unsigned)number_of_int(whole, digits);
                *point = (int)count - (int)places;
                while (count > 1 && digits[count - 1] == '0')
                    count--;
                return count;
            }
        }
    }
    uint64_t bits = bits_of(number), fraction = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7FF);
    bool lowest = fraction == 0 && exponent > 1; /* the neighbour below is nearer than that above */
    if (exponent == 0)
        exponent = 1;
    else
        fraction |= UINT64_C(1) << 52;
    exponent -= 1075;
    /* number = top / bottom; half the distance to the neighbours is above / bottom and below / bottom. */
    static struct big top, bottom, above, below, sum;
    big_set(&top, fraction);
    big_set(&bottom, 1);
    big_set(&below, 1);
    uint32_t extra = lowest ? 2 : 1;
    big_shift(&top, extra + (exponent > 0 ? (uint32_t)exponent : 0));
    big_shift(&bottom, extra + (exponent < 0 ? (uint32_t)-exponent : 0));
    big_shift(&below, exponent > 0 ? (uint32_t)exponent : 0);
    above = below;
    if (lowest)
        big_shift(&above, 1);
    /* About how many digits stand before the point: log10(2) of the bits. */
    int digits_before = (int)((int64_t)((int)big_bits(&top) - (int)big_bits(&bottom)) * 30103 / 100000) - 1;
    if (digits_before > 0) {
        big_power_of_ten(&bottom, (uint32_t)digits_before);
    } else {
        big_power_of_ten(&top, (uint32_t)-digits_before);
        big_power_of_ten(&above, (uint32_t)-digits_before);
        big_power_of_ten(&below, (uint32_t)-digits_before);
    }
    bool even = (fraction & 1) == 0; /* then the half ways read back as this number */
    for (;;) {
        sum = top;
        big_add(&sum, &above);
        int order = big_compare(&sum, &bottom);
        if (order < 0 || (order == 0 && !even))
            break;
        big_multiply_add(&bottom, 10, 0);
        digits_before++;
    }
    *point = digits_before;
    unsigned count = 0;
    for (;;) {
        big_multiply_add(&top, 10, 0);
        big_multiply_add(&above, 10, 0);
        big_multiply_add(&below, 10, 0);
        char digit = '0';
        while (big_compare(&top, &bottom) >= 0) {
            big_subtract(&top, &bottom);
            digit++;
        }
        int low_order = big_compare(&top, &below);
        bool low = low_order < 0 || (low_order == 0 && even);
        sum = top;
        big_add(&sum, &above);
        int high_order = big_compare(&sum, &bottom);
        bool high = high_order > 0 || (high_order == 0 && even);
        if (!low && !high && count < 17) {
            digits[count++] = digit;
            continue;
        }
        if (high && low) {
            sum = top;
            big_shift(&sum, 1);
            int order = big_compare(&sum, &bottom);
            /* Half way between two: the even one. */
            if (order > 0 || (order == 0 && (digit & 1)))
                digit++;
        } else if (high) {
            digit++;
        }
        digits[count++] = digit;
        return count;
    }
}

size_t number_of_double(double number, char *to)
{
    size_t size = 0;
    if (number != number) {
        memcpy(to, "NaN", 3);
        return 3;
    }
    if (number == 0) {
        to[0] = '0';
        return 1;
    }
    if (number < 0) {
        to[size++] = '-';
        number = -number;
    }
    if (number > 1.7976931348623157e308) {
        memcpy(to + size, "Infinity", 8);
        return size + 8;
    }
    char digits[24];
    int point;
    int count = (int)shortest(number, digits, &point);
    if (point > 21 || point < -5) {
        to[size++] = digits[0];
        if (count > 1) {
            to[size++] = '.';
            memcpy(to + size, digits + 1, (size_t)count - 1);
            size += (size_t)count - 1;
        }
        to[size++] = 'e';
        if (point > 0)
            to[size++] = '+';
        return size + number_of_int(point - 1, to + size);
    }
    if (point <= 0) {
        memcpy(to + size, "0.", 2);
        size += 2;
        for (; point < 0; point++)
            to[size++] = '0';
        memcpy(to + size, digits, (size_t)count);
        return size + (size_t)count;
    }
    for (int index = 0; index < count || index < point; index++) {
        if (index == point)
            to[size++] = '.';
        to[size++] = index < count ? digits[index] : '0';
    }
    return size;
}

/* digits times ten to `exponent`, rounded to the nearest, to even half way. */
static double nearest(const char *digits, uint32_t count, int exponent, bool more)
{
    static struct big top, bottom;
    big_set(&top, 0);
    for (uint32_t index = 0; index < count; index++) {
        if (top.count == 0)
            big_set(&top, (uint64_t)(digits[index] - '0'));
        else
            big_multiply_add(&top, 10, (uint32_t)(digits[index] - '0'));
    }
    if (top.count == 0)
        return 0;
    if ((int)count + exponent > 310)
        return (double)__builtin_inf();
    if ((int)count + exponent < -326)
        return 0;
    big_set(&bottom, 1);
    if (exponent >= 0)
        big_power_of_ten(&top, (uint32_t)exponent);
    else
        big_power_of_ten(&bottom, (uint32_t)-exponent);
    /* Scaled by a power of two so that the quotient has 64 bits or 65. */
    int scale = 64 - ((int)big_bits(&top) - (int)big_bits(&bottom));
    if (scale > 0)
        big_shift(&top, (uint32_t)scale);
    else
        big_shift(&bottom, (uint32_t)-scale);
    /* Of the quotient's 65 bits, the bits of a double: the rest is whether something is left. */
    uint64_t quotient = 0;
    int bits = 0, dropped = 0;
    static struct big part;
    for (int bit = 64; bit >= 0; bit--) {
        part = bottom;
        big_shift(&part, (uint32_t)bit);
        bool one = big_compare(&top, &part) >= 0;
        if (one)
            big_subtract(&top, &part);
        if (bits == 0 && !one)
            continue;
        if (bits < 55) {
            quotient = quotient << 1 | one;
            bits++;
        } else {
            dropped++;
            more = more || one;
        }
    }
    more = more || top.count != 0;
    /* The number is quotient (55 bits) and a little, times two to `power`. */
    int power = dropped - scale;
    int cut = 2; /* to 53 bits */
    if (power + cut < -1074)
        cut = -1074 - power;
    if (cut > 56)
        return 0;
    uint64_t kept = cut >= 64 ? 0 : quotient >> cut;
    uint64_t rest = quotient & ((UINT64_C(1) << cut) - 1), half = UINT64_C(1) << (cut - 1);
    if (rest > half || (rest == half && (more || (kept & 1))))
        kept++;
    power += cut;
    if (kept >> 53) {
        kept >>= 1;
        power++;
    }
    if (power > 971)
        return (double)__builtin_inf();
    uint64_t stored = kept >> 52 ? (uint64_t)(power + 1075) << 52 | (kept & ((UINT64_C(1) << 52) - 1)) : kept;
    double number;
    memcpy(&number, &stored, 8);
    return number;
}

enum number_form number_parse(const char *text, size_t size, int64_t *whole, double *number)
{
    static char digits[MAX_DIGITS];
    size_t at = 0;
    bool negative = false, any = false, point = false, more = false, exponent_given = false;
    uint32_t count = 0;
    int64_t shift = 0;
    if (at < size && (text[at] == '-' || text[at] == '+'))
        negative = text[at++] == '-';
    for (; at < size; at++) {
        char c = text[at];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        if (c < '0' || c > '9')
            break;
        any = true;
        if (point)
            shift--;
        if (count == 0 && c == '0')
            continue;
        if (count < MAX_DIGITS) {
            digits[count++] = c;
        } else {
            more = more || c != '0';
            shift++;
        }
    }
    if (!any)
        return NO_NUMBER;
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        bool down = false;
        int64_t exponent = 0;
        exponent_given = true;
        at++;
        if (at < size && (text[at] == '-' || text[at] == '+'))
            down = text[at++] == '-';
        if (at == size)
            return NO_NUMBER;
        for (; at < size && text[at] >= '0' && text[at] <= '9'; at++)
            if (exponent < 1000000000)
                exponent = exponent * 10 + (text[at] - '0');
        shift += down ? -exponent : exponent;
    }
    if (at != size)
        return NO_NUMBER;
    uint64_t value = 0;
    bool fits = !more && count <= 19;
    for (uint32_t index = 0; fits && index < count; index++)
        value = value * 10 + (uint64_t)(digits[index] - '0');
    if (fits && !point && !exponent_given && value <= (uint64_t)INT64_MAX + negative) {
        *whole = negative ? (int64_t)-value : (int64_t)value;
        return IS_INT;
    }
    double result;
    if (count == 0)
        result = 0;
    else if (fits && value < UINT64_C(1) << 53 && shift >= -22 && shift <= 22)
        result = shift < 0 ? (double)value / TENS[-shift] : (double)value * TENS[shift];
    else if (shift > 100000 || shift < -100000)
        result = shift > 0 ? (double)__builtin_inf() : 0;
    else
        result = nearest(digits, count, (int)shift, more);
    *number = negative ? -result : result;
    return IS_DOUBLE;
}
