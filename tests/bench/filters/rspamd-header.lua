-- Header only, for rspamd: adds one header. (It parses and decodes the message whatever the rule does.)
rspamd_config.BENCH_HEADER = {
    score = 0.0,
    group = "bench",
    callback = function(task)
        task:set_milter_reply{ add_headers = { ["X-Scanned"] = "yes" } }
        return true, "yes"
    end,
}
