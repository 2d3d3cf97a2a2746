/* carnot doctor: what this machine offers, what will hurt, what is missing and how to get it. */
#include "doctor.h"

#include "../command.h"

#include <stdio.h>
#include <string.h>

void doctor_say(struct doctor *doctor, enum doctor_level level, const char *topic,
                const char *format, ...)
{
    static const char *const words[] = {
#define X(name, word, text) word,
        DOCTOR_LEVELS(X)
#undef X
    };
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    doctor->count[level]++;
    if (doctor->status == CN_OK)
        doctor->status = cn_str_format(&doctor->page, "%-8s %-10s %s\n", words[level], topic, text);
}

static enum cn_status run(int argc, char **argv)
{
    struct doctor doctor = {0};
    if (argc > 1)
        return cn_fail(CN_ERR_CONFIG, "carnot doctor takes no arguments, not \"%s\"", argv[1]);
    doctor_machine(&doctor);
    doctor_traps(&doctor);
    doctor_parts(&doctor);
    enum cn_status status = doctor.status;
    if (status == CN_OK)
        status = cn_str_format(&doctor.page, "\n%zu warnings, %zu parts missing\n",
                               doctor.count[DOCTOR_WARN], doctor.count[DOCTOR_MISSING]);
    if (status == CN_OK &&
        (fwrite(doctor.page.data, 1, doctor.page.length, stdout) != doctor.page.length ||
         fflush(stdout) != 0))
        status = cn_fail(CN_ERR_IO, "cannot write to standard output");
    cn_str_free(&doctor.page);
    return status;
}

const struct cn_command command_doctor = {
    .name = "doctor",
    .summary = "what this machine offers, what will hurt, what is missing",
    .usage =
        "usage: carnot doctor\n"
        "\n"
        "Checks processor, cores, thread settings, memory, disk, libtorch (with a short product "
        "of\n"
        "matrices), MPI, CUDA, NCCL, HDF5, GMP/FLINT and the reward service.  Each missing part is "
        "named with the command that\n"
        "brings it.  The exit code is 0 whatever is found.\n",
    .run = run,
};
