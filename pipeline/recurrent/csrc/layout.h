// A digest of the structs of abi.h, field by field: library.py computes the same one from its
// mirror, and refuses a library whose digest is another.
#pragma once

#include "abi.h"

#include <type_traits>

namespace nprnn {

// What no layout shows: bump it when a function's arguments change, or what a field means.
constexpr uint64_t kMeaning = 2;

struct Field {
    const char* name;
    char kind;  // i: integer, d: double, p: pointer
    uint64_t offset;
};

template <typename T>
constexpr char kind() {
    return std::is_pointer<T>::value ? 'p' : std::is_floating_point<T>::value ? 'd' : 'i';
}

#define NPRNN_FIELD(type, name) Field{#name, kind<decltype(type::name)>(), offsetof(type, name)}
#define NPRNN_PASS(name) NPRNN_FIELD(nprnn_pass, name)
#define NPRNN_UPDATES(name) NPRNN_FIELD(nprnn_updates, name)

constexpr Field kPassFields[] = {
    NPRNN_PASS(isa),            NPRNN_PASS(cell),           NPRNN_PASS(reads_all),
    NPRNN_PASS(num_threads),    NPRNN_PASS(reads_half),     NPRNN_PASS(h0_stride),
    NPRNN_PASS(batch),          NPRNN_PASS(steps),          NPRNN_PASS(inputs),
    NPRNN_PASS(hidden),
    NPRNN_PASS(lengths),        NPRNN_PASS(features),       NPRNN_PASS(weight_ih),
    NPRNN_PASS(weight_hh),      NPRNN_PASS(bias),           NPRNN_PASS(h0),
    NPRNN_PASS(c0),             NPRNN_PASS(states),         NPRNN_PASS(output),
    NPRNN_PASS(last_cell),      NPRNN_PASS(grad_output),    NPRNN_PASS(grad_last_cell),
    NPRNN_PASS(grad_features),  NPRNN_PASS(grad_weight_ih), NPRNN_PASS(grad_weight_hh),
    NPRNN_PASS(grad_bias),      NPRNN_PASS(grad_h0),        NPRNN_PASS(grad_c0),
};
constexpr Field kUpdatesFields[] = {
    NPRNN_UPDATES(isa),         NPRNN_UPDATES(cell),           NPRNN_UPDATES(optimizer),
    NPRNN_UPDATES(num_before),  NPRNN_UPDATES(num_updates),    NPRNN_UPDATES(batch),
    NPRNN_UPDATES(longest),     NPRNN_UPDATES(inputs),         NPRNN_UPDATES(hidden),
    NPRNN_UPDATES(outputs),     NPRNN_UPDATES(is_classification),
    NPRNN_UPDATES(is_mean),     NPRNN_UPDATES(reads_mean),     NPRNN_UPDATES(reads_half),
    NPRNN_UPDATES(clips_values),
    NPRNN_UPDATES(learning_rate),
    NPRNN_UPDATES(clip),        NPRNN_UPDATES(decay),          NPRNN_UPDATES(mean_decay),
    NPRNN_UPDATES(epsilon),     NPRNN_UPDATES(features),       NPRNN_UPDATES(steps),
    NPRNN_UPDATES(lengths),     NPRNN_UPDATES(masks),          NPRNN_UPDATES(targets),
    NPRNN_UPDATES(weight_ih),   NPRNN_UPDATES(weight_hh),      NPRNN_UPDATES(bias),
    NPRNN_UPDATES(weight_out),  NPRNN_UPDATES(bias_out),       NPRNN_UPDATES(means),
    NPRNN_UPDATES(squares),     NPRNN_UPDATES(losses),         NPRNN_UPDATES(gradient_norms),
};

// Every field has 8 bytes, so a field that is not listed above, or elsewhere, does not compile.
template <typename Struct, size_t num>
constexpr bool lists_all(const Field (&fields)[num]) {
    for (size_t place = 0; place < num; ++place) {
        if (fields[place].offset != 8 * place) return false;
    }
    return sizeof(Struct) == 8 * num;
}
static_assert(lists_all<nprnn_pass>(kPassFields), "list the fields of nprnn_pass in order");
static_assert(lists_all<nprnn_updates>(kUpdatesFields), "list the fields of nprnn_updates in order");

#undef NPRNN_FIELD
#undef NPRNN_PASS
#undef NPRNN_UPDATES

// FNV-1a, 64 bits.
struct Digest {
    uint64_t value = 0xcbf29ce484222325u;

    constexpr void add(uint8_t byte) { value = (value ^ byte) * 0x100000001b3u; }
    constexpr void add_number(uint64_t number) {
        for (int place = 0; place < 8; ++place) add(uint8_t(number >> (8 * place)));
    }
    constexpr void add_field(const Field& field) {
        for (const char* c = field.name; *c; ++c) add(uint8_t(*c));
        add(uint8_t(field.kind));
        add_number(field.offset);
    }
};

constexpr uint64_t digest_layout() {
    Digest digest;
    digest.add_number(kMeaning);
    for (const Field& field : kPassFields) digest.add_field(field);
    for (const Field& field : kUpdatesFields) digest.add_field(field);
    return digest.value;
}

}  // namespace nprnn
