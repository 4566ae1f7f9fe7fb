/* Written by scripts/qcode.py from builtins.toml: BUILTIN(name, number of parameters, names and kinds). */
#define BUILTINS(BUILTIN) \
    BUILTIN(kind, 1, "value:any") \
    BUILTIN(to_text, 1, "value:data") \
    BUILTIN(identical, 2, "left:any right:any") \
    BUILTIN(number_round, 1, "number:number") \
    BUILTIN(number_trunc, 1, "number:number") \
    BUILTIN(number_floor, 1, "number:number") \
    BUILTIN(number_ceil, 1, "number:number") \
    BUILTIN(number_abs, 1, "number:number") \
    BUILTIN(number_sqrt, 1, "number:number") \
    BUILTIN(number_div_int, 2, "left:whole right:whole") \
    BUILTIN(number_rem_int, 2, "left:whole right:whole") \
    BUILTIN(number_mod_int, 2, "left:whole right:whole") \
    BUILTIN(number_mod, 2, "left:number right:number") \
    BUILTIN(number_parse, 1, "text:string") \
    BUILTIN(number_is_int, 1, "number:number") \
    BUILTIN(bit_and, 2, "left:whole right:whole") \
    BUILTIN(bit_or, 2, "left:whole right:whole") \
    BUILTIN(bit_xor, 2, "left:whole right:whole") \
    BUILTIN(string_sub, 3, "start:whole end:whole text:string") \
    BUILTIN(string_find, 2, "part:string text:string") \
    BUILTIN(string_find_last, 2, "part:string text:string") \
    BUILTIN(string_has_prefix, 2, "prefix:string text:string") \
    BUILTIN(string_has_suffix, 2, "suffix:string text:string") \
    BUILTIN(string_replace, 3, "old:string new:string text:string") \
    BUILTIN(string_trim, 1, "text:string") \
    BUILTIN(string_trim_left, 1, "text:string") \
    BUILTIN(string_trim_right, 1, "text:string") \
    BUILTIN(string_split, 2, "separator:string text:string") \
    BUILTIN(string_join, 2, "separator:string array:array") \
    BUILTIN(string_repeat, 2, "count:whole text:string") \
    BUILTIN(string_from_code_point, 1, "code:whole") \
    BUILTIN(string_code_point_at, 2, "index:whole text:string") \
    BUILTIN(array_sub, 3, "start:whole end:whole array:array") \
    BUILTIN(array_reverse, 1, "array:array") \
    BUILTIN(array_sort, 1, "array:array") \
    BUILTIN(array_range, 3, "first:whole last:whole array:array") \
    BUILTIN(int_range, 2, "first:whole last:whole") \
    BUILTIN(map_keys, 1, "map:map") \
    BUILTIN(map_values, 1, "map:map") \
    BUILTIN(map_remove, 2, "key:string map:map") \
    BUILTIN(map_entry, 2, "index:whole map:map") \
    BUILTIN(case_name, 1, "case:case") \
    BUILTIN(case_make, 2, "name:string argument:any") \
    BUILTIN(binary_of_string, 1, "text:string") \
    BUILTIN(binary_to_string, 1, "binary:binary") \
    BUILTIN(format_words, 1, "value:data") \
    BUILTIN(parse_words, 1, "binary:binary")
