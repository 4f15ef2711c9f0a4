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

/** Memory that a state lives in, aligned as phlora wants it. Movable; the memory itself stays where it is. */
class memory_block {
 public:
  bool allocate(std::size_t bytes) noexcept {
    memory_.reset(::operator new(bytes, alignment, std::nothrow));
    return memory_ != nullptr;
  }
  void *get() const noexcept { return memory_.get(); }

 private:
  static constexpr std::align_val_t alignment{PHLORA_ALIGNMENT};
  struct release {
    void operator()(void *memory) const noexcept { ::operator delete(memory, alignment); }
  };
  std::unique_ptr<void, release> memory_;
};

/** A row range of a pass, for a thread of its own; ends with the pass. */
class part {
 public:
  [[nodiscard]] phlora_status range(std::size_t &first_row, std::size_t &row_count) const noexcept {
    return phlora_part_rows(state_, &first_row, &row_count);
  }
  [[nodiscard]] phlora_status push(const rows &base, const rows &tuned) noexcept {
    return phlora_part_push(state_, base.data, base.bytes, base.dtype, tuned.data, tuned.bytes, tuned.dtype);
  }

 private:
  friend class extraction;
  phlora_part *state_ = nullptr;
};

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
    if (!memory_.allocate(plan.memory_bytes)) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_start(&options, row_count, col_count, memory_.get(), plan.memory_bytes, &state_);
  }

  /** What start has planned: the lengths of the factors among others. */
  const phlora_plan &plan() const noexcept { return plan_; }
  bool wants_pass() const noexcept { return phlora_wants_pass(state_) != 0; }

  [[nodiscard]] phlora_status push(const rows &base, const rows &tuned) noexcept {
    return phlora_push(state_, base.data, base.bytes, base.dtype, tuned.data, tuned.bytes, tuned.dtype);
  }
  /** Splits the pass into `count` of `parts`, which threads may feed in the place of push; end_pass joins them. */
  [[nodiscard]] phlora_status split(part (&parts)[PHLORA_MAX_PARTS], std::size_t &count) noexcept {
    phlora_part *states[PHLORA_MAX_PARTS] = {};
    phlora_status status = phlora_split(state_, states, PHLORA_MAX_PARTS, &count);
    if (status == PHLORA_STATUS_OK)
      for (std::size_t i = 0; i < count; i++) parts[i].state_ = states[i];
    return status;
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
  memory_block memory_;
  phlora_extractor *state_ = nullptr;
  phlora_plan plan_ = {};
};

/** An adapter of one layer over factors that lie in the caller's memory. */
inline phlora_adapter adapter(std::size_t row_count, std::size_t col_count, std::size_t rank, const rows &a,
                              const rows &b, float scale) noexcept {
  phlora_adapter view{};
  view.struct_size = sizeof view;
  view.rows = row_count;
  view.cols = col_count;
  view.rank = rank;
  view.a = a.data;
  view.a_bytes = a.bytes;
  view.a_dtype = a.dtype;
  view.b = b.data;
  view.b_bytes = b.bytes;
  view.b_dtype = b.dtype;
  view.scale = scale;
  return view;
}

/** An adapter's file, open while this lives. */
class adapter_file {
 public:
  adapter_file() noexcept = default;
  adapter_file(const adapter_file &) = delete;
  adapter_file &operator=(const adapter_file &) = delete;
  ~adapter_file() { close(); }

  /** `base`: nullptr for names and rows as in the adapter; `message` receives the reason of a refusal. */
  [[nodiscard]] phlora_status open(const char *path, const char *base, bool read, char *message,
                                   std::size_t message_len) noexcept {
    close();
    if (!memory_.get() && !memory_.allocate(phlora_adapter_file_bytes())) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_adapter_file_open(path, base, read, memory_.get(), phlora_adapter_file_bytes(), &state_, &modules_,
                                    message, message_len);
  }
  std::size_t size() const noexcept { return state_ ? modules_ : 0; }
  [[nodiscard]] phlora_status at(std::size_t index, phlora_adapter_module &to) const noexcept {
    return phlora_adapter_file_module(state_, index, &to, sizeof to);
  }
  void close() noexcept {
    if (state_) static_cast<void>(phlora_adapter_file_close(state_));
    state_ = nullptr;
  }

 private:
  memory_block memory_;
  phlora_adapter_file *state_ = nullptr;
  std::size_t modules_ = 0;
};

/** Activations of a batch: token t's vector begins t * stride elements in. */
template <class Pointer>
struct activations {
  Pointer data = nullptr;
  std::size_t bytes = 0;
  std::size_t stride = 0;
  phlora_dtype dtype = PHLORA_DTYPE_F32;
};
using inputs = activations<const void *>;
using outputs = activations<void *>;

/** One layer and batch, tokens of which use adapters. Refers to what it is made of; owns nothing. */
class batch {
 public:
  /** `list` may hold nullptr for adapters that leave the layer alone; `uses` as group or registry::pin has ordered them. */
  batch(std::size_t row_count, std::size_t col_count, std::size_t tokens,
        span<const phlora_adapter *const> list, span<const phlora_assignment> uses) noexcept
      : rows_(row_count), cols_(col_count), tokens_(tokens), list_(list), uses_(uses) {}

  [[nodiscard]] phlora_status size(std::size_t &t_len, std::size_t &scratch_len) const noexcept {
    return phlora_route_size(rows_, cols_, tokens_, list_.data(), list_.size(), uses_.data(), uses_.size(),
                             &t_len, &scratch_len);
  }
  [[nodiscard]] phlora_status down(const inputs &x, span<float> t, span<float> scratch, std::size_t ith = 0,
                                   std::size_t nth = 1) const noexcept {
    return phlora_route_down(rows_, cols_, tokens_, list_.data(), list_.size(), uses_.data(), uses_.size(), x.data,
                             x.bytes, x.stride, x.dtype, ith, nth, t.data(), t.size(), scratch.data(),
                             scratch.size());
  }
  [[nodiscard]] phlora_status up(span<const float> t, const outputs &y, span<float> scratch, std::size_t ith = 0,
                                 std::size_t nth = 1) const noexcept {
    return phlora_route_up(rows_, cols_, tokens_, list_.data(), list_.size(), uses_.data(), uses_.size(), t.data(),
                           t.size(), ith, nth, y.data, y.bytes, y.stride, y.dtype, scratch.data(), scratch.size());
  }

 private:
  std::size_t rows_, cols_, tokens_;
  span<const phlora_adapter *const> list_;
  span<const phlora_assignment> uses_;
};

/** Orders assignments by adapter and token. */
[[nodiscard]] inline phlora_status group(span<phlora_assignment> uses) noexcept {
  return phlora_group(uses.data(), uses.size());
}

/** Adapters by id, changed while they are used; every function from any thread. `Value` is what an id stands for. */
template <class Value>
class registry {
 public:
  /** What a batch has pinned; lets go of it at the end. */
  class pins {
   public:
    pins() noexcept = default;
    pins(const pins &) = delete;
    pins &operator=(const pins &) = delete;
    ~pins() { release(); }
    std::size_t size() const noexcept { return count_; }
    Value *operator[](std::size_t index) const noexcept { return static_cast<Value *>(values_[index]); }
    void release() noexcept {
      if (state_) static_cast<void>(phlora_pins_release(state_));
      state_ = nullptr;
      count_ = 0;
    }

   private:
    friend class registry;
    memory_block memory_;
    phlora_pins *state_ = nullptr;
    void *values_[PHLORA_REGISTRY_CAPACITY] = {};
    std::size_t count_ = 0;
  };

  /** Starts, in memory that it allocates. */
  [[nodiscard]] phlora_status start(std::size_t budget = SIZE_MAX) noexcept {
    if (!memory_.allocate(phlora_registry_bytes())) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_registry_init(budget, memory_.get(), phlora_registry_bytes(), &state_);
  }
  [[nodiscard]] phlora_status add(std::uint32_t id, Value *value, std::size_t bytes) noexcept {
    return phlora_registry_add(state_, id, value, bytes);
  }
  /** `old` is set to what is free now, or to nullptr: then reclaim will hand it out. */
  [[nodiscard]] phlora_status replace(std::uint32_t id, Value *value, std::size_t bytes, Value *&old) noexcept {
    void *found = nullptr;
    phlora_status status = phlora_registry_replace(state_, id, value, bytes, &found);
    if (status == PHLORA_STATUS_OK) old = static_cast<Value *>(found);
    return status;
  }
  [[nodiscard]] phlora_status remove(std::uint32_t id, Value *&old) noexcept {
    void *found = nullptr;
    phlora_status status = phlora_registry_remove(state_, id, &found);
    if (status == PHLORA_STATUS_OK) old = static_cast<Value *>(found);
    return status;
  }
  /** A value that is no longer used, or nullptr. */
  Value *reclaim() noexcept {
    void *found = nullptr;
    static_cast<void>(phlora_registry_reclaim(state_, &found));
    return static_cast<Value *>(found);
  }
  /** Pins all that a batch uses, and orders its assignments. */
  [[nodiscard]] phlora_status pin(span<phlora_assignment> uses, pins &to) noexcept {
    to.release();
    if (!to.memory_.get() && !to.memory_.allocate(phlora_pins_bytes())) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_registry_pin(state_, uses.data(), uses.size(), to.memory_.get(), phlora_pins_bytes(), &to.state_,
                               to.values_, PHLORA_REGISTRY_CAPACITY, &to.count_);
  }

 private:
  memory_block memory_;
  phlora_registry *state_ = nullptr;
};

}  // namespace phlora

#endif  // PHLORA_HPP
