/* The numbers of FLINT and Arb; FLINT 3 has Arb inside. */
#ifndef REWARDS_MATH_NUMBERS_H
#define REWARDS_MATH_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The library's inline functions are not written for our warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <gmp.h>

#include <flint/fmpq.h>
#include <flint/fmpq_mat.h>
#include <flint/nmod_vec.h>
#include <flint/ulong_extras.h>
#if __has_include(<flint/acb.h>) /* FLINT 3 */
#include <flint/acb.h>
#include <flint/nmod.h>
#else
#include <acb.h>
#endif
#pragma GCC diagnostic pop

#endif
