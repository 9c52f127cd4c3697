/*
 * posternctl doctor: runs the checks of the table, tells what they found and how to mend it. Needs
 * no running server, and tells more when one runs. Nothing is changed, no program is started but
 * the filter's own load.
 *
 * Exit code: 0 no problem, 1 at least one, 2 wrong usage.
 */
#include "ctl/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/log.h"
#include "common/xalloc.h"
#include "ctl/command.h"
#include "ctl/doctor_mta.h"
#include "ctl/doctor_units.h"
#include "ctl/render.h"
#include "ctl/request.h"
#include "ctl/server.h"

static const struct {
    const char *name;
    void (*run)(struct doctor *doctor);
    unsigned needs;
    const char *looks_at;
} checks[] = {
#define CHECK(name, function, needs, looks_at) {name, function, needs, looks_at},
#include "ctl/doctor_checks.def"
#undef CHECK
};

enum { N_CHECKS = sizeof(checks) / sizeof(checks[0]), ASK_MS = 5000 };

static const struct {
    const char *name;
    enum render_colour colour;
} grades[DOCTOR_N_GRADES] = {
    [DOCTOR_OK] = {"ok", RENDER_GREEN},
    [DOCTOR_NOTE] = {"note", RENDER_CYAN},
    [DOCTOR_WARNING] = {"warning", RENDER_YELLOW},
    [DOCTOR_PROBLEM] = {"problem", RENDER_RED},
};

static const char *doctor_grade_text(enum doctor_grade grade)
{
    return grades[grade].name;
}

void doctor_say(
    struct doctor *doctor, enum doctor_grade grade, const char *mend, const char *format, ...)
{
    char text[4096];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_t *finding = json_pack("{s:s, s:s, s:o, s:o}", "check", doctor->check, "grade",
        doctor_grade_text(grade), "text", render_json_text(slice_text(text)), "mend",
        mend != NULL ? render_json_text(slice_text(mend)) : json_null());
    json_object_set_new(
        finding, "mta", doctor->mta != NULL ? json_string(doctor->mta->name) : json_null());
    json_array_append_new(doctor->findings, finding);
    doctor->n[grade]++;
}

static void ask_server(struct doctor *doctor)
{
    char *error = NULL;
    doctor->status_error = request_call(
        server_socket(doctor->args, doctor->conf), "status", NULL, ASK_MS, &doctor->status, &error);
    free(error);
}

/* What the checks need, as far as it is there. */
static void look(struct doctor *doctor)
{
    doctor->conf_path = server_conf_path(doctor->args);
    int rc = server_conf_try(doctor->args, doctor->conf_path, &doctor->conf, &doctor->conf_error);
    if (rc == 0) {
        (void)sock_spec_from_text(doctor->conf->milterd.socket, &doctor->milter);
        ask_server(doctor);
        units_look(doctor);
        mta_look(doctor);
    }
}

static void forget(struct doctor *doctor)
{
    mta_free(doctor->mtas, doctor->n_mtas);
    units_free(doctor->units);
    json_decref(doctor->status);
    json_decref(doctor->findings);
    conf_free(doctor->conf);
    free(doctor->conf_error);
}

static unsigned is_there(const struct doctor *doctor)
{
    return (doctor->conf != NULL ? DOCTOR_CONF : 0) | (doctor->status != NULL ? DOCTOR_SERVER : 0) |
           (doctor->n_mtas > 0 ? DOCTOR_MTA : 0);
}

static void run_checks(struct doctor *doctor)
{
    unsigned there = is_there(doctor);
    for (int i = 0; i < N_CHECKS; i++) {
        if ((checks[i].needs & ~there) != 0) {
            continue;
        }
        doctor->check = checks[i].name;
        int n = (checks[i].needs & DOCTOR_MTA) != 0 ? doctor->n_mtas : 1;
        for (int k = 0; k < n; k++) {
            doctor->mta = (checks[i].needs & DOCTOR_MTA) != 0 ? &doctor->mtas[k] : NULL;
            if (doctor->mta == NULL || doctor->mta->error == NULL) {
                checks[i].run(doctor);
            }
        }
    }
}

static enum render_colour colour_of(const char *grade)
{
    for (int i = 0; i < DOCTOR_N_GRADES; i++) {
        if (strcmp(grades[i].name, grade) == 0) {
            return grades[i].colour;
        }
    }
    return RENDER_PLAIN;
}

static void print_finding(const json_t *finding, bool colour)
{
    char check[64];
    const char *mta = render_text_of(finding, "mta"), *grade = render_text_of(finding, "grade");
    snprintf(check, sizeof(check), "%s%s%s", mta, mta[0] != 0 ? " " : "",
        render_text_of(finding, "check"));
    printf("%s%-8s%s %-23s ", render_begin(colour_of(grade), colour), grade, render_end(colour),
        check);
    render_escaped(stdout, slice_text(render_text_of(finding, "text")));
    putchar('\n');
    if (render_text_of(finding, "mend")[0] != 0) {
        printf("%-32s %s-> ", "", render_begin(RENDER_DIM, colour));
        render_escaped(stdout, slice_text(render_text_of(finding, "mend")));
        printf("%s\n", render_end(colour));
    }
}

static void print_text(const struct doctor *doctor)
{
    size_t i;
    json_t *finding;
    json_array_foreach(doctor->findings, i, finding)
    {
        print_finding(finding, render_can_colour(stdout));
    }
    printf("\n%d ok, %d note%s, %d warning%s, %d problem%s\n", doctor->n[DOCTOR_OK],
        doctor->n[DOCTOR_NOTE], doctor->n[DOCTOR_NOTE] == 1 ? "" : "s", doctor->n[DOCTOR_WARNING],
        doctor->n[DOCTOR_WARNING] == 1 ? "" : "s", doctor->n[DOCTOR_PROBLEM],
        doctor->n[DOCTOR_PROBLEM] == 1 ? "" : "s");
}

static void print_json(const struct doctor *doctor)
{
    json_t *line = json_pack("{s:i, s:i, s:i, s:i, s:O}", "ok", doctor->n[DOCTOR_OK], "notes",
        doctor->n[DOCTOR_NOTE], "warnings", doctor->n[DOCTOR_WARNING], "problems",
        doctor->n[DOCTOR_PROBLEM], "findings", doctor->findings);
    render_json_line(stdout, line);
    json_decref(line);
}

/* The checks themselves, for --list. */
static int print_list(bool as_json)
{
    for (int i = 0; i < N_CHECKS; i++) {
        if (as_json) {
            json_t *line =
                json_pack("{s:s, s:s}", "check", checks[i].name, "looks_at", checks[i].looks_at);
            render_json_line(stdout, line);
            json_decref(line);
        } else {
            printf("%-16s %s\n", checks[i].name, checks[i].looks_at);
        }
    }
    return EXIT_CODE_OK;
}

int command_doctor(const struct args *args)
{
    if (args_has(args, ARG_LIST)) {
        return print_list(args_has(args, ARG_JSON));
    }
    struct doctor doctor = {.args = args, .findings = json_array()};
    look(&doctor);
    run_checks(&doctor);
    if (args_has(args, ARG_JSON)) {
        print_json(&doctor);
    } else {
        print_text(&doctor);
    }
    int code = doctor.n[DOCTOR_PROBLEM] > 0 ? EXIT_CODE_FOUND : EXIT_CODE_OK;
    forget(&doctor);
    return code;
}
