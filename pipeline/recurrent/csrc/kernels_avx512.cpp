#define NPRNN_ISA avx512
#include "kernels.inc"
