// The mock upstream and the load generator of make bench-gateway: raw sockets and no library, so that both cost
// little beside the gateways under measurement.
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail("use: gateway_load upstream|load [flags]")
	}
	switch os.Args[1] {
	case "upstream":
		upstream(os.Args[2:])
	case "load":
		load(os.Args[2:])
	default:
		fail("unknown command " + os.Args[1])
	}
}

func fail(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}
