static const unsigned long long fatbinData[] = {0x00100001ba55ed50ull, 0x0000000000000060ull, 0x0000004001010002ull};
static const unsigned char code[] = {0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0x41, 8, 0};
const char* source = R"(extern "C" __global__ void k() {})"; const char* ptx = "\056version 8.0\n.tar" "get sm_90\n";
