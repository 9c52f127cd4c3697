/* The rows of options.def for people: what -h shows, and the sample file. */
#include <string.h>

#include "common/conf.h"
#include "common/conf_value.h"

const struct conf_section conf_sections[] = {
#define SECTION(section_, help_) {#section_, help_},
#define OPTION(section_, name_, type_, default_, min_, max_, when_, help_)
#define SECTION_END(section_)
#include "common/options.def"
#undef SECTION
#undef OPTION
#undef SECTION_END
};
const int conf_n_sections = sizeof(conf_sections) / sizeof(conf_sections[0]);

static bool is_listed(const char *section, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(*names, section) == 0)
            return true;
    return false;
}

static void print_help_option(FILE *out, const struct conf_option *option)
{
    char range[128];
    conf_value_range(option, range, sizeof(range));
    fprintf(out, "  %s = %s\n      %s", option->name, option->default_text, option->help);
    if (range[0] != '\0')
        fprintf(out, " (%s)", range);
    fprintf(out, "\n");
}

void conf_print_help(FILE *out, const char *const *names)
{
    for (int s = 0; s < conf_n_sections; s++) {
        if (!is_listed(conf_sections[s].name, names))
            continue;
        fprintf(out, "\n[%s]  %s\n", conf_sections[s].name, conf_sections[s].help);
        for (int i = 0; i < conf_n_options; i++)
            if (strcmp(conf_options[i].section, conf_sections[s].name) == 0)
                print_help_option(out, &conf_options[i]);
    }
}

static void print_sample_option(FILE *out, const struct conf_option *option)
{
    char range[128];
    conf_value_range(option, range, sizeof(range));
    fprintf(out, "\n# %s\n", option->help);
    if (range[0] != '\0')
        fprintf(out, "# From %s.", range);
    else
        fprintf(out, "#");
    fprintf(out, " Takes effect with %s.\n",
        option->is_reloadable ? "posternctl reload" : "the next start");
    fprintf(out, "#%s =%s%s\n", option->name, option->default_text[0] != '\0' ? " " : "",
        option->default_text);
}

void conf_print_sample(FILE *out)
{
    fputs("# Configuration of Postern. Each option stands here with its default: take the \"#\" "
          "away and change the value.\n"
          "# \"#\" and \";\" start a comment at the front of a line or after a blank. Bytes: 512, "
          "64K, 16M, 2G. Durations: 250ms, 8s, 5m, 2h, 1d.\n"
          "# See postern.conf(5).\n",
        out);
    for (int s = 0; s < conf_n_sections; s++) {
        fprintf(out, "\n[%s]\n# %s\n", conf_sections[s].name, conf_sections[s].help);
        for (int i = 0; i < conf_n_options; i++)
            if (strcmp(conf_options[i].section, conf_sections[s].name) == 0)
                print_sample_option(out, &conf_options[i]);
    }
    fputs("\n[filter]\n# Settings of your own, which the filter reads as config.NAME.\n", out);
}
