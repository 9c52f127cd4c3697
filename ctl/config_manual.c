/*
 * posternctl config --manual: the rows of options.def as mdoc, so that the list in postern.conf(5)
 * cannot differ from the options there are. Texts of the table are plain text and are escaped for
 * roff here.
 */
#include "ctl/config_manual.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "common/conf.h"
#include "common/conf_value.h"

/* What stands for the value in the synopsis of an option, by its type. */
static const struct {
    const char *type, *word;
} words[] = {{"STR", "text"}, {"BOOL", "yes | no"}, {"INT", "number"}, {"BYTES", "bytes"},
    {"MS", "duration"}, {"MODE", "mode"}, {"ANSWER", "answer"}, {"SOCKET", "socket"},
    {"NETWORKS", "networks"}, {"LEVEL", "level"}, {"TARGET", "target"}, {"FORMAT", "format"},
    {"SANDBOX", "mode"}, {"POLICY", "policy"}, {"KEEPER", "sqlite | redis"}};

static const char *word_of(const char *type)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i].type, type) == 0) {
            return words[i].word;
        }
    }
    return "value";
}

/* Text as roff shows it: a backslash is no escape, the front of a line no request. */
static void print_text(FILE *out, const char *text)
{
    fputs(text[0] == '.' || text[0] == '\'' ? "\\&" : "", out);
    for (; *text != '\0'; text++) {
        if (*text == '\\') {
            fputs("\\e", out);
        } else {
            fputc(*text, out);
        }
    }
}

/* A whole sentence made of a help text, which begins with a small letter and has no full stop. */
static void print_sentence(FILE *out, const char *help)
{
    char first[2] = {(char)toupper((unsigned char)help[0]), '\0'};
    print_text(out, first);
    print_text(out, help[0] != '\0' ? help + 1 : "");
    fputs(".\n", out);
}

static void print_default(FILE *out, const char *text)
{
    if (text[0] == '\0') {
        fputs("Default: empty.\n", out);
        return;
    }
    fputs("Default:\n.Ql \"", out); /* no default has a quote in it; \& keeps words such as "No" */
    fputs("\\&", out);
    print_text(out, text);
    fputs("\" .\n", out);
}

static void print_range(FILE *out, const struct conf_option *option)
{
    char range[128];
    conf_value_range(option, range, sizeof(range));
    bool has_length = strcmp(option->type, "STR") == 0 || strcmp(option->type, "NETWORKS") == 0 ||
                      strcmp(option->type, "SOCKET") == 0;
    if (range[0] != '\0') {
        fputs("Range: ", out);
        print_text(out, range);
        fputs(".\n", out);
    } else if (has_length) {
        fprintf(out, "At most %lld bytes.\n", (long long)option->max);
    }
}

static void print_option(FILE *out, const struct conf_option *option)
{
    fprintf(out, ".It Cm %s No = Ar %s\n", option->name, word_of(option->type));
    print_sentence(out, option->help);
    print_default(out, option->default_text);
    print_range(out, option);
    fprintf(out, "Takes effect with\n%s",
        option->is_reloadable ? ".Ic posternctl reload .\n" : "the next start.\n");
}

void config_manual_print(FILE *out)
{
    for (int s = 0; s < conf_n_sections; s++) {
        fprintf(out, ".Ss [%s]\n", conf_sections[s].name);
        print_text(out, conf_sections[s].help);
        fputs("\n.Bl -tag -width Ds\n", out);
        for (int i = 0; i < conf_n_options; i++) {
            if (strcmp(conf_options[i].section, conf_sections[s].name) == 0) {
                print_option(out, &conf_options[i]);
            }
        }
        fputs(".El\n", out);
    }
}
