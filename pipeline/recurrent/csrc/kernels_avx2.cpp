#define NPRNN_ISA avx2
#include "kernels.inc"
