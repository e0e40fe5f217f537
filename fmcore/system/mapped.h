/* Mapped files of which a page can no longer be read, be it that the file was cut off or that its disk fails: zeros take
   the place of everything from that page on, and the mapping is marked as lost, so that whoever uses it can end in an
   orderly way. Without this the system ends the process by SIGBUS. */
#ifndef FMKIT_MAPPED_H
#define FMKIT_MAPPED_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

#define MOST_MAPPED 64  /* at once; those beyond are not guarded */

typedef struct {
    char *volatile start;  /* NULL: free */
    char *volatile end;
    volatile sig_atomic_t lost;
} mapped_span;

static mapped_span mapped_spans[MOST_MAPPED];
static struct sigaction bus_error_before;
static uintptr_t page_mask;

/* Called in the thread that read the page. mmap is a plain system call wherever this runs, and safe here. */
static void on_bus_error(int number, siginfo_t *info, void *context) {
    int before = errno, i;
    char *page = (char *)((uintptr_t)info->si_addr & page_mask);
    (void)number;
    (void)context;
    for (i = 0; i < MOST_MAPPED; i++) {
        mapped_span *span = &mapped_spans[i];
        char *start = span->start, *end = span->end;
        if (start == NULL || page < start || page >= end)
            continue;
        if (mmap(page, (size_t)(end - page), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        span->lost = 1;
        errno = before;
        return;
    }
    sigaction(SIGBUS, &bus_error_before, NULL);  /* the read is tried again, and ends as it would without this */
    errno = before;
}

/* From now on; 0, or -1 with errno set. */
static inline int catch_bus_errors(void) {
    struct sigaction action;
    if (page_mask != 0)
        return 0;
    page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &bus_error_before);
}

/* The span of a new mapping, or NULL where there are too many. Not to be called in two threads at once. */
static inline mapped_span *mapped_span_of(void *start, size_t size) {
    int i;
    for (i = 0; i < MOST_MAPPED; i++)
        if (mapped_spans[i].start == NULL) {
            mapped_spans[i].end = (char *)start + size;
            mapped_spans[i].lost = 0;
            mapped_spans[i].start = (char *)start;  /* last: from here on the handler sees it */
            return &mapped_spans[i];
        }
    return NULL;
}

#endif
