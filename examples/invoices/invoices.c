/* invoices: writes an invoice as a text file and signs it with a secret of the user, which it never sees. */
#include "mix.h"

MIX_MANIFEST({
    "version": 1,
    "name": "invoices",
    "description": "Writes invoices and signs them",
    "entries": {
        "issue": {
            "description": "Writes an invoice to /invoices/NUMBER.txt, once, and signs the SHA-256 of the file.",
            "inParams": {"number": "string", "customer": "string", "amount": "number"},
            "outParams": {"path": "string", "sha256": "string", "signature": "string"}
        }
    },
    "grants": {
        "ffis": ["$crypto_hmacSha256", "$crypto_sha256", "$file_create", "$secrets_get"],
        "options": {"files.write": ["/invoices"], "secrets.names": ["signing-key"]}
    }
})

#define KEY "signing-key"
#define MOST_NUMBER 40    /* bytes */
#define MOST_CUSTOMER 200 /* bytes */
#define MOST_AMOUNT 1e12

static bool is_in_number(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '-';
}

/* A name of a file: nothing that leads to another folder. */
static mix_text number_of(mix_value params) {
    mix_text number = mix_as_text(mix_need(params, "number", MIX_STRING));
    bool fits = number.size > 0 && number.size <= MOST_NUMBER;
    for (size_t at = 0; fits && at < number.size; at++) fits = is_in_number(number.at[at]);
    if (!fits) mix_panic("number: expected 1 to 40 ASCII letters, digits and '-', as 2026-0042");
    return number;
}

/* One line: what is signed has no lines that somebody else has put in. */
static mix_text customer_of(mix_value params) {
    mix_text customer = mix_as_text(mix_need(params, "customer", MIX_STRING));
    bool fits = customer.size > 0 && customer.size <= MOST_CUSTOMER;
    for (size_t at = 0; fits && at < customer.size; at++) {
        unsigned char byte = (unsigned char)customer.at[at];
        fits = byte >= ' ' && byte != 0x7F;
    }
    if (!fits) mix_panic("customer: expected 1 to 200 bytes without line breaks and control characters");
    return customer;
}

static double amount_of(mix_value params) {
    double amount = mix_as_number(mix_need(params, "amount", MIX_NUMBER), -1);
    if (!(amount >= 0 && amount <= MOST_AMOUNT)) mix_panic("amount: expected a number from 0 to 1e12");
    return amount;
}

/* The key, as a token: the host signs with it and shows it to nobody. */
static mix_value signing_key(void) {
    mix_value result = mix_ffi("$secrets_get", mix_string(KEY));
    if (mix_text_is(mix_as_text(result), "ok")) return mix_case_arg(result);
    mix_text why = mix_as_text(mix_case_arg(result));
    mix_panic_text(mix_as_text(mix_format(
        "%.*s; whoever runs the server stores it by `mixkit secrets set WS/invoices " KEY "`, with --user USER for one user",
        (int)why.size, why.size ? why.at : "")));
}

static mix_value issue(mix_value params) {
    mix_text number = number_of(params), customer = customer_of(params);
    mix_value content = mix_format("Invoice %.*s\nCustomer: %.*s\nAmount: %.2f\n", (int)number.size, number.at,
                                   (int)customer.size, customer.at, amount_of(params));
    mix_value path = mix_format("/invoices/%.*s.txt", (int)number.size, number.at);

    /* Signed first: without the key there is no file either. */
    mix_value sha256 = mix_ffi("$crypto_sha256", content);
    mix_value signature = mix_ffi("$crypto_hmacSha256", signing_key(), sha256);
    mix_expect_ok(mix_ffi("$file_create", path, content));

    mix_out out = {0};
    mix_put_map(&out);
    mix_key(&out, "path"), mix_put_value(&out, path);
    mix_key(&out, "sha256"), mix_put_value(&out, sha256);
    mix_key(&out, "signature"), mix_put_value(&out, signature);
    mix_end(&out);
    return mix_done(&out);
}
MIX_ENTRY("issue", issue)
