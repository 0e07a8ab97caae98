// How often the program has called operator new. For tests of what must not allocate; linking it
// replaces the program's operator new.
#pragma once

#include <cstddef>

namespace target::engine::test {

std::size_t allocations();

}  // namespace target::engine::test
