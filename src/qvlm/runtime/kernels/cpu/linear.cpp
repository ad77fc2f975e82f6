#include "linear.h"

#include <cstdlib>
#include <new>

#include "threads.h"

namespace qvlm {
namespace {

// Memory that a thread keeps from call to call, aligned to cache lines.
class Scratch {
  public:
    ~Scratch() { std::free(memory_); }
    void* of(int64_t bytes) {
        if (bytes > size_) {
            std::free(memory_);
            size_ = 0;
            const int64_t rounded = ceil_div(bytes, 4096) * 4096;
            memory_ = std::aligned_alloc(4096, rounded);
            if (!memory_) throw std::bad_alloc();
            size_ = rounded;
        }
        return memory_;
    }

  private:
    void* memory_ = nullptr;
    int64_t size_ = 0;
};

constexpr int64_t kPanels = 8;
// Tasks a thread should find at least, so that none waits long for another.
constexpr int64_t kShares = 4;
// Products below which waking a thread costs more than it brings.
constexpr int64_t kWorthwhile = 1 << 18;

struct Call {
    const Isa& isa;
    const Weights& weights;
    const Inputs& inputs;
    const Outputs& outputs;
    uint32_t* words;
    TokenGrid* grids;
    TileShape tile;
    int64_t row, tiles;
    int64_t tiles_each, panels_each, panel_tasks;
};

void round_one(void* context, int64_t tile) {
    const Call& call = *static_cast<Call*>(context);
    thread_local Scratch row;
    call.isa.round_tile(call.weights, call.inputs, tile, call.words + tile * call.tile.words,
                        call.grids,
                        static_cast<uint32_t*>(row.of(call.row * 4)));
}

void multiply_one(void* context, int64_t i) {
    const Call& call = *static_cast<Call*>(context);
    thread_local Scratch buffer;
    const int64_t tile = i / call.panel_tasks * call.tiles_each;
    const int64_t panel = i % call.panel_tasks * call.panels_each;
    const auto smaller = [](int64_t a, int64_t b) { return a < b ? a : b; };
    const Task task = {tile, smaller(tile + call.tiles_each, call.tiles), panel,
                       smaller(panel + call.panels_each, call.weights.panels()),
                       buffer.of(buffer_bytes(call.weights))};
    call.isa.multiply(call.weights, call.inputs, call.outputs, call.words, call.grids, task);
}

}  // namespace

void linear(const Isa& isa, const Weights& w, const Inputs& in, const Outputs& out, int threads) {
    if (in.tokens == 0) return;
    thread_local Scratch words, grids;
    const int64_t steps = w.blocks() * steps_per_block(w.arithmetic);
    const TileShape tile = isa.tile(w, in);
    const int64_t tiles = ceil_div(in.tokens, tile.tokens);
    const int64_t row = steps + (in.grid == Grid::per_group ? w.in_features + 2 * w.groups() : 0);
    const int64_t grids_each = in.grid == Grid::per_group ? w.groups() : 1;
    if (in.tokens * w.in_features * w.out_features < kWorthwhile) threads = 1;
    const int64_t most = ceil_div(isa.tokens, tile.tokens);
    const int64_t tiles_each = tiles < most ? tiles : most;
    const int64_t shares = ceil_div(threads * kShares, ceil_div(tiles, tiles_each));
    int64_t panels_each = ceil_div(ceil_div(w.panels(), shares), isa.panels) * isa.panels;
    if (tiles > 1 && panels_each > kPanels) panels_each = kPanels;
    Call call = {isa,
                 w,
                 in,
                 out,
                 static_cast<uint32_t*>(words.of(tiles * tile.words * 4)),
                 static_cast<TokenGrid*>(grids.of(tiles * tile.tokens * grids_each * sizeof(TokenGrid))),
                 tile,
                 row,
                 tiles,
                 tiles_each,
                 panels_each,
                 ceil_div(w.panels(), panels_each)};
    parallel(threads, tiles, round_one, &call);
    parallel(threads, ceil_div(tiles, tiles_each) * call.panel_tasks, multiply_one, &call);
}

}  // namespace qvlm
