-- pass.lua: changes nothing and refuses nothing.
--
-- What a new installation runs until you write your own filter, in /etc/postern/filter.lua. Each function named filter_... is
-- called at one stage of a mail; a stage that has no function costs nothing. See postern-filter(5), and example.lua beside this
-- file for a tour.

function filter_message(msg)
    return continue()
end
