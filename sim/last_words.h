// What a process says when a run in it cannot go on: where an assertion broke, which signal came,
// or that a run uses processor time without end. It owns the process's ways of dying and must never
// know what was run.
#pragma once

#include <string>

namespace sim {

// Called once, in the dying process, with a signature that tells deaths apart and a sentence. When
// it returns the process ends by the signal, or by SIGABRT.
using LastWords = void (*)(const std::string& signature, const std::string& text);

// Assertions, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT (uncaught exceptions, sanitizers) and the
// watchdog below.
void install_last_words(LastWords words);

// The run that begins now may use this much processor time (not the clock's: a busy machine hangs
// nobody). 0: no bound.
void arm_watchdog(unsigned seconds);
inline constexpr unsigned kPatienceSeconds = 30;

// "crash:engine.cc:take_frame:room>0" from what assert() knows.
std::string assertion_signature(const char* expression, const char* file, const char* function);

}  // namespace sim
