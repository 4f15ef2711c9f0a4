/*
 * phlora.hpp: a thin C++17 layer over phlora.h, header-only, without logic of its own.
 *
 * Every call returns the status of the C function; phlora::check turns it into an exception where exceptions are
 * enabled. phlora::extraction owns the memory that the extraction lives in.
 */
#ifndef PHLORA_HPP
#define PHLORA_HPP

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#if defined(__cpp_exceptions)
#include <stdexcept>
#endif

#include "phlora.h"

namespace phlora {

/** A run of elements that somebody else owns; made from a pointer and a size, or from a contiguous container. */
template <class T>
class span {
 public:
  constexpr span() noexcept = default;
  constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <class Container,
            class = std::enable_if_t<std::is_convertible_v<
                decltype(std::declval<Container &>().data()), T *>>>
  constexpr span(Container &container) noexcept : data_(container.data()), size_(container.size()) {}
  constexpr T *data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  T *data_ = nullptr;
  std::size_t size_ = 0;
};

/** Whole rows of a weight in their storage format. */
struct rows {
  const void *data = nullptr;
  std::size_t bytes = 0;
  phlora_dtype dtype = PHLORA_DTYPE_F32;
};

#if defined(__cpp_exceptions)
/** A call that was refused. */
class error : public std::runtime_error {
 public:
  explicit error(phlora_status status)
      : std::runtime_error(phlora_status_message(status)), status_(status) {}
  phlora_status status() const noexcept { return status_; }

 private:
  phlora_status status_;
};

/** Throws phlora::error unless the status is OK. */
inline void check(phlora_status status) {
  if (status != PHLORA_STATUS_OK) throw error(status);
}
#endif

/** The default options. */
inline phlora_options default_options() noexcept {
  phlora_options options;
  static_cast<void>(phlora_options_init(&options, sizeof options));
  return options;
}

/** One extraction and its memory. Movable; the memory itself stays where it is. */
class extraction {
 public:
  /** Plans and starts, in memory that it allocates: phlora_plan_init, phlora_start. */
  [[nodiscard]] phlora_status start(const phlora_options &options, std::size_t row_count,
                                    std::size_t col_count) {
    phlora_plan plan;
    if (phlora_status status = phlora_plan_init(&options, row_count, col_count, &plan, sizeof plan);
        status != PHLORA_STATUS_OK)
      return status;
    plan_ = plan;
    memory_.reset(::operator new(plan.memory_bytes, alignment, std::nothrow));
    if (!memory_) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_start(&options, row_count, col_count, memory_.get(), plan.memory_bytes, &state_);
  }

  /** What start has planned: the lengths of the factors among others. */
  const phlora_plan &plan() const noexcept { return plan_; }
  bool wants_pass() const noexcept { return phlora_wants_pass(state_) != 0; }

  [[nodiscard]] phlora_status push(const rows &base, const rows &tuned) noexcept {
    return phlora_push(state_, base.data, base.bytes, base.dtype, tuned.data, tuned.bytes, tuned.dtype);
  }
  [[nodiscard]] phlora_status end_pass() noexcept { return phlora_end_pass(state_); }
  [[nodiscard]] phlora_status measure(phlora_measurements &measurements) noexcept {
    return phlora_measure(state_, &measurements, sizeof measurements);
  }
  [[nodiscard]] phlora_status finish(span<float> a, span<float> b, span<float> singular_values,
                                     phlora_report &report) noexcept {
    return phlora_finish(state_, a.data(), a.size(), b.data(), b.size(), singular_values.data(),
                         singular_values.size(), &report, sizeof report);
  }

 private:
  static constexpr std::align_val_t alignment{PHLORA_ALIGNMENT};
  struct release {
    void operator()(void *memory) const noexcept { ::operator delete(memory, alignment); }
  };

  std::unique_ptr<void, release> memory_;
  phlora_extractor *state_ = nullptr;
  phlora_plan plan_ = {};
};

}  // namespace phlora

#endif  // PHLORA_HPP
