/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <locale.h>
#include <stdint.h>
#include <string.h>

#include "../../../tools/paxctl/escape.h"

static const char *shown(const char *key, size_t len)
{
	static char text[ESCAPED_MAX];

	return escape_key(key, len, text);
}

Test(escape, printable_characters_stay)
{
	cr_assert_str_eq(shown("job 7/results.h5", 16), "job 7/results.h5");
}

Test(escape, what_a_terminal_obeys_is_shown_in_hexadecimal)
{
	cr_assert_str_eq(shown("a\x1b[2J\n\0\x7f", 8), "a\\x1b[2J\\x0a\\x00\\x7f");
}

Test(escape, a_backslash_is_doubled_so_that_no_two_keys_look_alike)
{
	cr_assert_str_eq(shown("\\x00", 4), "\\\\x00");
	cr_assert_str_eq(shown("\0", 1), "\\x00");
}

Test(escape, text_of_the_locale_stays_and_broken_text_does_not)
{
	cr_assert(setlocale(LC_CTYPE, "C.UTF-8"));
	cr_assert_str_eq(shown("\xc3\xa9t\xc3\xa9", 5), "\xc3\xa9t\xc3\xa9");
	cr_assert_str_eq(shown("\xc3", 1), "\\xc3");
	cr_assert_str_eq(shown("\xe2\x80\xae"
			       "abc",
			       6),
			 "\\xe2\\x80\\xaeabc", "a mark of direction turns what follows around");
}

Test(escape, without_a_locale_only_ascii_is_printable)
{
	cr_assert_str_eq(shown("\xc3\xa9", 2), "\\xc3\\xa9");
}

Test(escape, the_longest_key_fits)
{
	char key[255];

	memset(key, 1, sizeof(key));
	cr_assert_eq(strlen(shown(key, sizeof(key))), ESCAPED_MAX - 1);
}

Test(escape, json_has_the_exact_bytes_whatever_they_are)
{
	json_t *text = json_object(), *odd = json_object();

	json_add_key(text, "a\nb", 3);
	cr_assert_str_eq(json_string_value(json_object_get(text, "key")), "a\nb");
	cr_assert_str_eq(json_string_value(json_object_get(text, "key_hex")), "610a62");
	json_add_key(odd, "a\xff", 2);
	cr_assert_str_eq(json_string_value(json_object_get(odd, "key")), "a\\xff");
	cr_assert_str_eq(json_string_value(json_object_get(odd, "key_hex")), "61ff");
	json_decref(text);
	json_decref(odd);
}

Test(escape, numbers_of_64_bits_keep_their_digits)
{
	json_t *n = json_u64(UINT64_MAX);

	cr_assert_str_eq(json_string_value(n), "18446744073709551615");
	json_decref(n);
}
