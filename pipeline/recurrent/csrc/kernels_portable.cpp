#define NPRNN_ISA portable
#include "kernels.inc"
