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
    BUILTIN(array_range, 3, "p:whole q:whole a:array") \
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
    BUILTIN(parse_words, 1, "binary:binary") \
    BUILTIN(number_sin, 1, "number:number") \
    BUILTIN(number_cos, 1, "number:number") \
    BUILTIN(number_tan, 1, "number:number") \
    BUILTIN(number_asin, 1, "number:number") \
    BUILTIN(number_acos, 1, "number:number") \
    BUILTIN(number_atan, 1, "number:number") \
    BUILTIN(number_sinh, 1, "number:number") \
    BUILTIN(number_cosh, 1, "number:number") \
    BUILTIN(number_tanh, 1, "number:number") \
    BUILTIN(number_asinh, 1, "number:number") \
    BUILTIN(number_acosh, 1, "number:number") \
    BUILTIN(number_atanh, 1, "number:number") \
    BUILTIN(number_exp, 1, "number:number") \
    BUILTIN(number_expm1, 1, "number:number") \
    BUILTIN(number_log, 1, "number:number") \
    BUILTIN(number_log10, 1, "number:number") \
    BUILTIN(number_log1p, 1, "number:number") \
    BUILTIN(number_atan2, 2, "y:number x:number") \
    BUILTIN(number_pow, 2, "base:number exponent:number") \
    BUILTIN(number_hypot, 2, "x:number y:number") \
    BUILTIN(number_copysign, 2, "number:number sign:number") \
    BUILTIN(string_uppercase, 1, "text:string") \
    BUILTIN(string_lowercase, 1, "text:string") \
    BUILTIN(string_fold, 1, "text:string") \
    BUILTIN(string_capitalize, 1, "text:string") \
    BUILTIN(json_parse, 1, "text:string") \
    BUILTIN(json_format, 1, "value:data") \
    BUILTIN(binary_sub, 3, "start:whole end:whole binary:binary") \
    BUILTIN(binary_join, 2, "separator:binary array:array") \
    BUILTIN(binary_find, 2, "part:binary binary:binary") \
    BUILTIN(binary_to_base64, 1, "binary:binary") \
    BUILTIN(binary_of_base64, 1, "text:string") \
    BUILTIN(binary_to_hex, 1, "binary:binary") \
    BUILTIN(binary_of_hex, 1, "text:string") \
    BUILTIN(array_flatten, 1, "array:array") \
    BUILTIN(map_of_pairs, 1, "array:array") \
    BUILTIN(regex_check, 1, "pattern:string") \
    BUILTIN(regex_find, 3, "pattern:string start:whole text:string") \
    BUILTIN(regex_find_all, 3, "pattern:string most:whole text:string") \
    BUILTIN(random_int, 2, "first:whole last:whole") \
    BUILTIN(random_float, 0, "") \
    BUILTIN(ref_of_string, 1, "text:string") \
    BUILTIN(ref_to_string, 1, "ref:ref") \
    BUILTIN(regex_texts, 3, "pattern:string most:whole text:string") \
    BUILTIN(coroutine_local, 1, "index:whole") \
    BUILTIN(coroutine_set_local, 2, "index:whole value:data") \
    BUILTIN(stream_unread, 2, "element:data stream:stream") \
    BUILTIN(expect, 4, "function:string wanted:string argument:string value:any") \
    BUILTIN(array_sort_by, 2, "keys:array array:array") \
    BUILTIN(map_of_groups, 2, "keys:array array:array") \
    BUILTIN(sort_open, 1, "array:array") \
    BUILTIN(sort_step, 2, "greater:any sort:any") \
    BUILTIN(sort_close, 1, "sort:any") \
    BUILTIN(array_matches, 3, "keys:array known:array array:array")
