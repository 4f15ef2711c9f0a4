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

/** The inputs of a layer in f32: token t's vector begins t * stride elements in. */
inline phlora_inputs inputs(span<const float> values, std::size_t stride) noexcept {
  return {values.data(), values.size() * sizeof(float), stride, PHLORA_DTYPE_F32, 0};
}
/** The outputs of a layer in f32. */
inline phlora_outputs outputs(span<float> values, std::size_t stride) noexcept {
  return {values.data(), values.size() * sizeof(float), stride, PHLORA_DTYPE_F32, 0};
}

/** One layer and batch, tokens of which use adapters: checked once, then used from any thread. Movable. */
class batch {
 public:
  /**
   * Checks, in memory that it allocates and keeps for the next start. `list` may hold nullptr for adapters that leave the
   * layer alone; `uses` as group or registry::pin has ordered them. The factors and `uses` must stay until the last call.
   */
  [[nodiscard]] phlora_status start(std::size_t row_count, std::size_t col_count, std::size_t tokens,
                                    span<const phlora_adapter *const> list,
                                    span<const phlora_assignment> uses) noexcept {
    const std::size_t needed = phlora_batch_bytes(list.size());
    state_ = nullptr;
    if (needed > bytes_ || !memory_.get()) {
      if (needed == 0 || !memory_.allocate(needed)) return PHLORA_STATUS_MEMORY_TOO_SMALL;
      bytes_ = needed;
    }
    return phlora_batch_init(row_count, col_count, tokens, list.data(), list.size(), uses.data(), uses.size(),
                             memory_.get(), bytes_, &state_);
  }
  /** Floats of work that `slices` slices need. */
  std::size_t work_len(std::size_t slices = 1) const noexcept { return phlora_batch_work(state_, slices); }
  [[nodiscard]] phlora_status down(const phlora_inputs &x, span<float> work, std::size_t ith = 0,
                                   std::size_t nth = 1) const noexcept {
    return phlora_batch_down(state_, &x, ith, nth, work.data(), work.size());
  }
  [[nodiscard]] phlora_status up(const phlora_outputs &y, span<float> work, std::size_t ith = 0,
                                 std::size_t nth = 1) const noexcept {
    return phlora_batch_up(state_, &y, ith, nth, work.data(), work.size());
  }
  [[nodiscard]] phlora_status forward(const phlora_inputs &x, const phlora_outputs &y,
                                      span<float> work) const noexcept {
    return phlora_batch_forward(state_, &x, &y, work.data(), work.size());
  }

 private:
  memory_block memory_;
  std::size_t bytes_ = 0;
  phlora_batch *state_ = nullptr;
};

/** Adapters that are merged into weights: checked and decoded once, then used from any thread. Movable. */
class merge {
 public:
  /** `weights`: as many as adapters, or none for 1. The factors must stay until the last call. */
  [[nodiscard]] phlora_status start(span<const phlora_adapter *const> list, span<const float> weights) noexcept {
    std::size_t cols = 0, ranks = 0;
    if (weights.size() != 0 && weights.size() != list.size()) return PHLORA_STATUS_BAD_OPTION;
    for (std::size_t i = 0; i < list.size(); i++) {
      if (!list.data()[i]) return PHLORA_STATUS_NULL_POINTER;
      cols = list.data()[i]->cols;
      ranks += list.data()[i]->rank;
    }
    const std::size_t needed = phlora_merge_bytes(cols, ranks, list.size());
    if (needed == 0 || !memory_.allocate(needed)) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    return phlora_merge_init(list.data(), weights.data(), list.size(), memory_.get(), needed, &state_);
  }
  std::size_t scratch_len() const noexcept { return phlora_merge_scratch_len(state_); }
  /** `stash`: nullptr, or as many bytes as the rows. */
  [[nodiscard]] phlora_status into(std::size_t first_row, void *data, std::size_t bytes, phlora_dtype dtype, void *stash,
                                   span<float> scratch) const noexcept {
    return phlora_merge_rows(state_, first_row, data, bytes, dtype, stash, scratch.data(), scratch.size());
  }

 private:
  memory_block memory_;
  phlora_merge *state_ = nullptr;
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
    std::unique_ptr<void *[]> values_;
    std::size_t room_ = 0;
    std::size_t count_ = 0;
  };

  /** Starts, in memory that it allocates, with room for `capacity` entries, retired ones included. */
  [[nodiscard]] phlora_status start(std::size_t capacity, std::size_t budget = SIZE_MAX) noexcept {
    const std::size_t needed = phlora_registry_bytes(capacity);
    if (needed == 0 || !memory_.allocate(needed)) return PHLORA_STATUS_MEMORY_TOO_SMALL;
    capacity_ = capacity;
    return phlora_registry_init(capacity, budget, memory_.get(), needed, &state_);
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
    // No batch uses more adapters than it has assignments.
    const std::size_t room = uses.size() < capacity_ ? uses.size() : capacity_;
    if (room > to.room_ || !to.memory_.get()) {
      to.values_.reset(new (std::nothrow) void *[room + 1]);
      if (!to.values_ || !to.memory_.allocate(phlora_pins_bytes(room))) return PHLORA_STATUS_MEMORY_TOO_SMALL;
      to.room_ = room;
    }
    return phlora_registry_pin(state_, uses.data(), uses.size(), to.memory_.get(), phlora_pins_bytes(to.room_),
                               &to.state_, to.values_.get(), to.room_, &to.count_);
  }

 private:
  memory_block memory_;
  std::size_t capacity_ = 0;
  phlora_registry *state_ = nullptr;
};

/**
 * The file functions. Each takes its options by reference, {} with struct_size set by options<T>() for the defaults, and writes
 * what there is to be known to `message`, which may be empty.
 */
namespace files {

/** Options of a job with all defaults. */
template <class T>
T options() noexcept {
  T made{};
  made.struct_size = sizeof made;
  return made;
}

[[nodiscard]] inline phlora_status extract(const char *base, const char *tuned, const char *adapter,
                                           const phlora_file_options &options, phlora_file_report &report,
                                           span<char> message = {}) noexcept {
  return phlora_extract_files(base, tuned, adapter, &options, &report, sizeof report, message.data(), message.size());
}
[[nodiscard]] inline phlora_status plan(const char *base, const char *tuned, const phlora_plan_options &options,
                                        phlora_file_report &report, span<char> message = {}) noexcept {
  return phlora_plan_files(base, tuned, &options, &report, sizeof report, message.data(), message.size());
}
[[nodiscard]] inline phlora_status choice(const char *report, const phlora_choice_options &options, phlora_choice &choice,
                                          span<char> message = {}) noexcept {
  return phlora_choice_file(report, &options, &choice, sizeof choice, message.data(), message.size());
}
[[nodiscard]] inline phlora_status page(const char *report, const char *page, bool force,
                                        span<char> message = {}) noexcept {
  return phlora_page_file(report, page, force, message.data(), message.size());
}
[[nodiscard]] inline phlora_status prune(const char *adapter, const char *output, const phlora_prune_options &options,
                                         phlora_pruned &pruned, span<char> message = {}) noexcept {
  return phlora_prune_files(adapter, output, &options, &pruned, sizeof pruned, message.data(), message.size());
}
[[nodiscard]] inline phlora_status merge(const char *base, span<const char *const> adapters, const char *model,
                                         const phlora_merge_options &options, phlora_merged &merged,
                                         span<char> message = {}) noexcept {
  return phlora_merge_files(base, adapters.data(), adapters.size(), model, &options, &merged, sizeof merged,
                            message.data(), message.size());
}
[[nodiscard]] inline phlora_status convert(const char *adapter, const char *output,
                                           const phlora_convert_options &options, phlora_converted &converted,
                                           span<char> message = {}) noexcept {
  return phlora_convert_files(adapter, output, &options, &converted, sizeof converted, message.data(), message.size());
}
[[nodiscard]] inline phlora_status verify(const char *base, const char *tuned, const char *adapter,
                                          const phlora_verify_options &options, phlora_verification &verification,
                                          span<char> message = {}) noexcept {
  return phlora_verify_files(base, tuned, adapter, &options, &verification, sizeof verification, message.data(),
                             message.size());
}
[[nodiscard]] inline phlora_status check(const char *adapter, const char *base, const phlora_check_options &options,
                                         std::size_t &errors, span<char> message = {}) noexcept {
  return phlora_check_files(adapter, base, &options, &errors, message.data(), message.size());
}
[[nodiscard]] inline phlora_status diff(const char *first, const char *second, const phlora_diff_options &options,
                                        phlora_diff &diff, span<char> message = {}) noexcept {
  return phlora_diff_files(first, second, &options, &diff, sizeof diff, message.data(), message.size());
}
[[nodiscard]] inline phlora_status inspect(const char *path, phlora_contents &contents,
                                           span<char> message = {}) noexcept {
  return phlora_inspect_file(path, &contents, sizeof contents, message.data(), message.size());
}

}  // namespace files

}  // namespace phlora

#endif  // PHLORA_HPP
