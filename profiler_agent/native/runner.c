/* The `native` runner: times TFLite models through LiteRT's C library, for devices without Python. Experimental.
 *
 *   runner probe       one JSON line
 *   runner run JOB     JOB's first line holds the plan's numbers, each other line a model's path, the canary last
 *
 * It writes the same JSON lines as the `python` runner (see profiler_agent/README.md). The declarations below are
 * the part of LiteRT's C interface that it needs (LiteRT 2.3); all handles are opaque. CPU only, LiteRT's default
 * threads; the `threads` fact tells how many there were, and the host takes no more than one. */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#ifndef RUSAGE_THREAD
#define RUSAGE_THREAD 1
#endif

typedef struct Opaque* Handle;
int LiteRtCreateEnvironment(int, const void*, Handle*);
int LiteRtCreateOptions(Handle*);
int LiteRtSetOptionsHardwareAccelerators(Handle, int);
int LiteRtCreateModelFromFile(Handle environment, const char* path, Handle* model);
int LiteRtGetModelSignature(Handle model, size_t, Handle* signature);
int LiteRtGetNumSignatureInputs(Handle signature, size_t*);
int LiteRtGetNumSignatureOutputs(Handle signature, size_t*);
int LiteRtGetSignatureInputTensorByIndex(Handle signature, size_t, Handle* tensor);
int LiteRtGetSignatureOutputTensorByIndex(Handle signature, size_t, Handle* tensor);
int LiteRtGetRankedTensorType(Handle tensor, void* type);
int LiteRtCreateCompiledModel(Handle environment, Handle model, Handle options, Handle* compiled);
int LiteRtGetCompiledModelInputBufferRequirements(Handle compiled, size_t, size_t, Handle*);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle compiled, size_t, size_t, Handle*);
int LiteRtCreateManagedTensorBufferFromRequirements(Handle environment, const void* type, Handle, Handle* buffer);
int LiteRtGetTensorBufferPackedSize(Handle buffer, size_t*);
int LiteRtLockTensorBuffer(Handle buffer, void** address, int mode);
int LiteRtUnlockTensorBuffer(Handle buffer);
int LiteRtRunCompiledModel(Handle compiled, size_t, size_t, Handle*, size_t, Handle*);

enum { CPU = 1, FLOAT32 = 1, LOCK_WRITE = 1, MAX_TENSORS = 16, MAX_MODELS = 4096 };

typedef struct {
    Handle compiled, inputs[MAX_TENSORS], outputs[MAX_TENSORS];
    size_t input_count, output_count;
    long runs;
    int64_t* burst_ns;
    long* switches;
} Model;

typedef struct {
    long warmup_runs, burst_warmup_runs, burst_ns, burst_retries, round_count, rest_us, seed, limit_s;
} Plan;

static uint64_t random_state;

static uint32_t random_word(void) { /* xorshift64*, Marsaglia 2003, Vigna 2016 */
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545F4914F6CDD1DULL) >> 32);
}

static void check(int status, const char* what) {
    if (status == 0) return;
    fprintf(stderr, "LiteRT refused %s (status %d)\n", what, status);
    exit(66);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static long involuntary_switches(void) {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : -1;
}


static void run_many(Model* model, long count) {
    for (long i = 0; i < count; i++)
        check(LiteRtRunCompiledModel(model->compiled, 0, model->input_count, model->inputs, model->output_count,
                                     model->outputs),
              "to run");
}

static void fill(Handle buffer, int element_type) {
    size_t size;
    void* address;
    check(LiteRtGetTensorBufferPackedSize(buffer, &size), "a buffer's size");
    check(LiteRtLockTensorBuffer(buffer, &address, LOCK_WRITE), "to lock an input");
    if (element_type == FLOAT32)
        for (size_t i = 0; i < size / 4; i++) ((float*)address)[i] = (float)random_word() / 2147483648.0f - 1.0f;
    else
        for (size_t i = 0; i < size; i++) ((uint8_t*)address)[i] = (uint8_t)random_word();
    check(LiteRtUnlockTensorBuffer(buffer), "to unlock an input");
}

static Handle make_buffer(Handle environment, Model* model, Handle tensor, size_t index, int is_input) {
    union {
        int element_type; /* the first field of LiteRtRankedTensorType, which is smaller than this union */
        max_align_t align;
        char bytes[256];
    } type;
    Handle requirements, buffer;
    check(LiteRtGetRankedTensorType(tensor, &type), "a tensor's type");
    check((is_input ? LiteRtGetCompiledModelInputBufferRequirements : LiteRtGetCompiledModelOutputBufferRequirements)(
              model->compiled, 0, index, &requirements),
          "a buffer's requirements");
    check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, requirements, &buffer), "a buffer");
    if (is_input) fill(buffer, type.element_type);
    return buffer;
}

static void load(Handle environment, Handle options, const char* path, Model* model) {
    Handle file, signature, tensor;
    check(LiteRtCreateModelFromFile(environment, path, &file), path);
    check(LiteRtCreateCompiledModel(environment, file, options, &model->compiled), "to compile");
    check(LiteRtGetModelSignature(file, 0, &signature), "the signature");
    check(LiteRtGetNumSignatureInputs(signature, &model->input_count), "the inputs");
    check(LiteRtGetNumSignatureOutputs(signature, &model->output_count), "the outputs");
    if (model->input_count > MAX_TENSORS || model->output_count > MAX_TENSORS) check(1, "so many tensors");
    for (size_t i = 0; i < model->input_count; i++) {
        check(LiteRtGetSignatureInputTensorByIndex(signature, i, &tensor), "an input");
        model->inputs[i] = make_buffer(environment, model, tensor, i, 1);
    }
    for (size_t i = 0; i < model->output_count; i++) {
        check(LiteRtGetSignatureOutputTensorByIndex(signature, i, &tensor), "an output");
        model->outputs[i] = make_buffer(environment, model, tensor, i, 0);
    }
}

/* Warms a model up and fits its burst; the fastest of the later runs tells how many fill it. */
static void prepare(Model* model, const Plan* plan) {
    int64_t fastest = INT64_MAX;
    run_many(model, 1);
    for (long i = 0; i < plan->warmup_runs; i++) {
        int64_t start = now_ns();
        run_many(model, 1);
        int64_t took = now_ns() - start;
        if (took < fastest) fastest = took;
    }
    if (fastest < 1) fastest = 1;
    model->runs = (plan->burst_ns + fastest / 2) / fastest;
    if (model->runs < 1) model->runs = 1;
    model->burst_ns = calloc((size_t)plan->round_count, sizeof *model->burst_ns);
    model->switches = calloc((size_t)plan->round_count, sizeof *model->switches);
    if (!model->burst_ns || !model->switches) check(1, "memory");
}

/* One burst; one that was preempted is tried again, the best is kept: fewest switches, then the shortest. */
static void sample(Model* model, const Plan* plan, long round) {
    for (long attempt = 0; attempt <= plan->burst_retries; attempt++) {
        run_many(model, model->runs < plan->burst_warmup_runs ? model->runs : plan->burst_warmup_runs);
        long before = involuntary_switches();
        int64_t start = now_ns();
        run_many(model, model->runs);
        int64_t burst_ns = now_ns() - start;
        long count = before < 0 ? -1 : involuntary_switches() - before;
        if (attempt == 0 || count < model->switches[round] ||
            (count == model->switches[round] && burst_ns < model->burst_ns[round])) {
            model->burst_ns[round] = burst_ns;
            model->switches[round] = count;
        }
        if (count <= 0) return;
    }
}

static void print_samples(const Model* model, size_t index, const Plan* plan) {
    printf("{\"t\":\"samples\",\"m\":%zu,\"runs\":%ld,\"burst_ns\":[", index, model->runs);
    for (long i = 0; i < plan->round_count; i++) printf("%s%lld", i ? "," : "", (long long)model->burst_ns[i]);
    printf("],\"switches\":[");
    for (long i = 0; i < plan->round_count; i++)
        model->switches[i] < 0 ? printf("%snull", i ? "," : "") : printf("%s%ld", i ? "," : "", model->switches[i]);
    printf("]}\n");
}

/* An emulator's own threads are among them. */
static int thread_count(void) {
    char line[256];
    int count = 0;
    FILE* status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) sscanf(line, "Threads: %d", &count);
    if (status) fclose(status);
    return count;
}

static int run(const char* job_path) {
    static Model models[MAX_MODELS];
    static size_t order[MAX_MODELS];
    static char path[4096];
    Plan plan;
    size_t count = 0;
    Handle environment, options;
    int64_t started_ns = now_ns();
    int threads_before = thread_count();
    FILE* job = fopen(job_path, "r");
    if (!job || fscanf(job, "%ld %ld %ld %ld %ld %ld %ld %ld\n", &plan.warmup_runs, &plan.burst_warmup_runs,
                       &plan.burst_ns, &plan.burst_retries,
                       &plan.round_count, &plan.rest_us, &plan.seed, &plan.limit_s) != 8) {
        fprintf(stderr, "%s is no job\n", job_path);
        return 64;
    }
    random_state = (uint64_t)plan.seed * 0x9E3779B97F4A7C15ULL + 1;
    check(LiteRtCreateEnvironment(0, NULL, &environment), "an environment");
    check(LiteRtCreateOptions(&options), "options");
    check(LiteRtSetOptionsHardwareAccelerators(options, CPU), "the CPU");
    while (count < MAX_MODELS && fgets(path, sizeof path, job)) {
        path[strcspn(path, "\n")] = 0;
        printf("{\"t\":\"begin\",\"m\":%zu}\n", count);
        alarm((unsigned)plan.limit_s); /* SIGALRM ends a process that does not get ready */
        load(environment, options, path, &models[count]);
        prepare(&models[count], &plan);
        printf("{\"t\":\"ready\",\"m\":%zu,\"runs\":%ld}\n", count, models[count].runs);
        order[count] = count;
        count++;
    }
    for (long round = 0; round < plan.round_count; round++) {
        for (size_t i = count; i > 1; i--) { /* Fisher and Yates */
            size_t j = random_word() % i, kept = order[i - 1];
            order[i - 1] = order[j];
            order[j] = kept;
        }
        for (size_t i = 0; i < count; i++) {
            alarm((unsigned)plan.limit_s);
            sample(&models[order[i]], &plan, round);
            if (plan.rest_us) usleep((useconds_t)plan.rest_us);
        }
    }
    alarm(0);
    for (size_t i = 0; i < count; i++) print_samples(&models[i], i, &plan);
    printf("{\"t\":\"end\",\"models\":%zu,\"runtime\":{\"threads\":%d,\"ran_on\":[\"LiteRT CPU\"]},\"seconds\":%.3f}\n",
           count, 1 + thread_count() - threads_before, (double)(now_ns() - started_ns) / 1e9);
    return 0;
}

int main(int argc, char** argv) {
    setvbuf(stdout, NULL, _IOLBF, 0); /* what was written before a crash tells which model caused it */
    if (argc == 2 && strcmp(argv[1], "probe") == 0) {
        Handle environment;
        check(LiteRtCreateEnvironment(0, NULL, &environment), "an environment");
        printf("{\"t\":\"probe\",\"runtime\":\"litert\"}\n");
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "run") == 0) return run(argv[2]);
    fprintf(stderr, "usage: runner probe | run JOB\n");
    return 64;
}
