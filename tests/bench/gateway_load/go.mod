module moltbot.io/bench/gateway_load

go 1.26
