/* Configuration files of a mail server, as posternctl doctor reads them. The first byte says which:
 * m main.cf, s master.cf, c sendmail.cf, otherwise sendmail.mc. Whatever stands in it, the answer
 * is bounded, and no text is lost track of. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "common/xalloc.h"
#include "ctl/postfix_file.h"
#include "ctl/sendmail_file.h"

static void check(bool holds)
{
    if (!holds)
        abort();
}

static const char *const defaults[][2] = {
    {"smtpd_milters", "${non_smtpd_milters?$non_smtpd_milters}"}, {NULL, NULL}};

static void each_item(const char *list)
{
    const char *rest = list;
    bool is_group;
    for (char *item; (item = postfix_next_item(&rest, &is_group)) != NULL;) {
        check(rest > list && rest <= list + strlen(list));
        free(item);
    }
}

static void take_value(const struct postfix_parameters *parameters,
    const struct postfix_service *service, const char *name)
{
    char *value = postfix_value(parameters, service, defaults, name);
    check(strlen(value) <= POSTFIX_VALUE_MAX);
    each_item(value);
    free(value);
}

static void take_main(char *text)
{
    struct postfix_parameters parameters = {0};
    postfix_parameters_parse(&parameters, text);
    check(parameters.n <= POSTFIX_PARAMETERS_MAX);
    take_value(&parameters, NULL, "smtpd_milters");
    for (int i = 0; i < parameters.n && i < 8; i++)
        take_value(&parameters, NULL, parameters.items[i].name);
    postfix_parameters_clear(&parameters);
}

static void take_master(char *text)
{
    struct postfix_parameters parameters = {0};
    struct postfix_services services = {0};
    postfix_services_parse(&services, text);
    check(services.n <= POSTFIX_SERVICES_MAX);
    for (int i = 0; i < services.n; i++)
        take_value(&parameters, &services.items[i], "smtpd_milters");
    postfix_services_clear(&services);
}

static void take_sendmail(char *text, bool is_cf)
{
    struct sendmail_file file = {0};
    if (is_cf)
        sendmail_file_parse_cf(&file, text);
    else
        sendmail_file_parse_mc(&file, text);
    for (int i = 0; i < file.n_filters; i++) {
        static const char *const keys[] = {"S", "F", "T"};
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
            free(sendmail_equate(file.filters[i].equates, keys[k]));
    }
    for (int i = 0; i < file.n_daemons; i++)
        free(sendmail_equate(file.daemons[i], "InputMailFilters"));
    sendmail_file_clear(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = xmemdup0(data + 1, size - 1);
    switch (data[0]) {
    case 'm':
        take_main(text);
        break;
    case 's':
        take_master(text);
        break;
    default:
        take_sendmail(text, data[0] == 'c');
        break;
    }
    free(text);
    return 0;
}
