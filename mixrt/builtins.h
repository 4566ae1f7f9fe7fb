/* Written by scripts/qcode.py from builtins.toml: BUILTIN(name, number of parameters, their names). */
#define BUILTINS(BUILTIN) \
    BUILTIN(kind, 1, "value") \
    BUILTIN(to_text, 1, "value") \
    BUILTIN(identical, 2, "left right") \
    BUILTIN(number_round, 1, "number") \
    BUILTIN(number_trunc, 1, "number") \
    BUILTIN(number_floor, 1, "number") \
    BUILTIN(number_ceil, 1, "number") \
    BUILTIN(number_abs, 1, "number") \
    BUILTIN(number_sqrt, 1, "number") \
    BUILTIN(number_div_int, 2, "left right") \
    BUILTIN(number_rem_int, 2, "left right") \
    BUILTIN(number_mod_int, 2, "left right") \
    BUILTIN(number_mod, 2, "left right") \
    BUILTIN(number_parse, 1, "text") \
    BUILTIN(number_is_int, 1, "number") \
    BUILTIN(bit_and, 2, "left right") \
    BUILTIN(bit_or, 2, "left right") \
    BUILTIN(bit_xor, 2, "left right") \
    BUILTIN(string_sub, 3, "start end text") \
    BUILTIN(string_find, 2, "part text") \
    BUILTIN(string_find_last, 2, "part text") \
    BUILTIN(string_has_prefix, 2, "prefix text") \
    BUILTIN(string_has_suffix, 2, "suffix text") \
    BUILTIN(string_replace, 3, "old new text") \
    BUILTIN(string_trim, 1, "text") \
    BUILTIN(string_trim_left, 1, "text") \
    BUILTIN(string_trim_right, 1, "text") \
    BUILTIN(string_split, 2, "separator text") \
    BUILTIN(string_join, 2, "separator array") \
    BUILTIN(string_repeat, 2, "count text") \
    BUILTIN(string_from_code_point, 1, "code") \
    BUILTIN(string_code_point_at, 2, "index text") \
    BUILTIN(array_sub, 3, "start end array") \
    BUILTIN(array_reverse, 1, "array") \
    BUILTIN(array_sort, 1, "array") \
    BUILTIN(array_range, 3, "first last array") \
    BUILTIN(int_range, 2, "first last") \
    BUILTIN(map_keys, 1, "map") \
    BUILTIN(map_values, 1, "map") \
    BUILTIN(map_remove, 2, "key map") \
    BUILTIN(map_entry, 2, "index map") \
    BUILTIN(case_name, 1, "case") \
    BUILTIN(case_make, 2, "name argument") \
    BUILTIN(binary_of_string, 1, "text") \
    BUILTIN(binary_to_string, 1, "binary") \
    BUILTIN(format_words, 1, "value") \
    BUILTIN(parse_words, 1, "binary")
