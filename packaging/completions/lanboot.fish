# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_lanboot_global_optspecs
    string join \n config= state= log= h/help V/version
end

function __fish_lanboot_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_lanboot_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_lanboot_using_subcommand
    set -l cmd (__fish_lanboot_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c lanboot -n "__fish_lanboot_needs_command" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_needs_command" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_needs_command" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_needs_command" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_needs_command" -s V -l version -d 'Print version'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "serve" -d 'Run the servers'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "reload" -d 'Check the configuration, then make the running server use it'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "status" -d 'Show what the running server does: interfaces, pools in use, machines that boot now, last failures'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "machines" -d 'List every machine that was seen or is in the configuration: name, MAC address, address, firmware, last boot'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "why" -d 'Show the last boots of a machine step by step, and why they stopped'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "capture" -d 'Write the packets of a machine\'s last boot as a pcap file, for tcpdump and Wireshark'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "once" -d 'Start a target at the next boot of a machine only'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "wake" -d 'Start machines with Wake-on-LAN packets'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "check" -d 'Show every problem in the configuration, with its position, and of this computer: interfaces, ports, folders, lease database, firewall'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "doctor" -d 'Look for everything that would keep machines from booting here: interfaces, ports, firewall, other DHCP servers, boot files; each finding has the command that fixes it'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "rehearse" -d 'Show what each machine would boot with each kind of firmware, according to this configuration; nothing is sent'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "probe" -d 'Act as a machine that boots from the network, and show each step from DISCOVER to the last byte of the boot file'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "leases" -d 'List leases, show one or release its address, with or without a running server; or import another server\'s leases'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "import" -d 'Print another DHCP server\'s configuration as config.yaml; standard error lists what was not taken'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "images" -d 'List, add and verify the files of the images folder'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "schema" -d 'Print the JSON schema of config.yaml, for editors'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "demo" -d 'Boot five simulated machines of different kinds from a server on this computer\'s loopback'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "token" -d 'Print the token for changes through the web listener; it is created when it is first printed'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "completions" -d 'Print the script that completes lanboot\'s commands and options in a shell'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "man" -d 'Print the manual page, or write one page for each command into a folder'
complete -c lanboot -n "__fish_lanboot_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -l user -d 'The user to become when root starts the server [default: lanboot if that user can read `images` and the configuration, else the owner of the configuration\'s folder]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -l leases-in-memory -d 'Keep leases in memory only, to measure the cost of the disk. They are lost at exit'
complete -c lanboot -n "__fish_lanboot_using_subcommand serve" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand reload" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand reload" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand reload" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand reload" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand status" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand status" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand status" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand status" -l json -d 'Print the JSON object of the API instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand status" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand machines" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand machines" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand machines" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand machines" -l json -d 'Print the JSON array of the API instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand machines" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l last -d 'Show this number of boots' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l follow -d 'Show new events as they come, until interrupted'
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -l json -d 'Print the JSON object of the API instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand why" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand capture" -s o -l output -d 'Write to this file; `-` is standard output [default: standard output, unless that is a terminal]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand capture" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand capture" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand capture" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand capture" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand once" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand once" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand once" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand once" -l clear -d 'Forget what was set: the machine boots as usual'
complete -c lanboot -n "__fish_lanboot_using_subcommand once" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand wake" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand wake" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand wake" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand wake" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l rehearse -d 'Also rehearse it: report each client that would not boot'
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l file-only -d 'Leave this computer out'
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -l json -d 'Print a JSON object instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand check" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand doctor" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand doctor" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand doctor" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand doctor" -l json -d 'Print a JSON object instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand rehearse" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand rehearse" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand rehearse" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand rehearse" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand rehearse" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l interface -d 'Send on this network interface by broadcast, as a machine there would. Needs root or CAP_NET_RAW. If the interface has no address in the network of the lease, it gets the machine\'s address during the download [default: the only interface that is up]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l server -d 'Send to this server by unicast instead, as a DHCP relay agent at this computer\'s address would. The server must serve this computer\'s network, and port 67 must be free here (root). A server on loopback is reached from any port, without root' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l arch -d 'Architectures of the machine: names such as bios, uefi-x64, uefi-arm64, uefi-x64-http, or numbers of option 93. Several are tried one after the other' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l firmware -d 'Firmware of the machine [default: http for architectures that end in -http, else pxe]' -r -f -a "pxe\t'PXE of a BIOS ROM or of UEFI, depending on the architecture'
http\t'UEFI HTTP boot'
ipxe\t'iPXE'
bootp\t'A BOOTP client, older than DHCP'"
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l mac -d 'Hardware address of the machine [default: a locally administered one, the same each time]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l uuid -d 'UUID of the machine (option 97) [default: zeros]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l dhcp-port -d 'DHCP port of the server; replies are expected on the next port' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l tftp-port -d 'TFTP port of the server' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l proxy-port -d 'Port of proxyDHCP and boot servers' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l count -d 'Number of machines, with hardware addresses that count up from --mac: a boot storm, with a summary instead of steps' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l rate -d 'Number of machines that are switched on per second [default: all at once]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l timeout -d 'Longest wait for a reply in seconds (firmware waits up to 60 for DHCP)' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l collect -d 'Collect offers for this many seconds before choosing one [default: as the firmware: 4, iPXE up to 2; 0 with --count]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -l json -d 'Print JSON instead of text: an array with one object for each --arch, or one object with --count'
complete -c lanboot -n "__fish_lanboot_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l only -d 'List only leases in this state: leased, declined, released or expired' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l subnet -d 'List only leases of this subnet, such as 192.168.77.0/24' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -l json -d 'Print JSON instead of text: an array of objects, or one object for import'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -f -a "list" -d 'List every lease in the order of addresses (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -f -a "show" -d 'Show everything about one lease'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -f -a "release" -d 'End a lease now, so that its address may be given to another client'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -f -a "import" -d 'Import the leases of ISC dhcpd or dnsmasq, while no lanboot runs'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and not __fish_seen_subcommand_from list show release import help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l only -d 'List only leases in this state: leased, declined, released or expired' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l subnet -d 'List only leases of this subnet, such as 192.168.77.0/24' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -l json -d 'Print JSON instead of text: an array of objects, or one object for import'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l only -d 'List only leases in this state: leased, declined, released or expired' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l subnet -d 'List only leases of this subnet, such as 192.168.77.0/24' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -l json -d 'Print JSON instead of text: an array of objects, or one object for import'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l only -d 'List only leases in this state: leased, declined, released or expired' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l subnet -d 'List only leases of this subnet, such as 192.168.77.0/24' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -l json -d 'Print JSON instead of text: an array of objects, or one object for import'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l from -d 'Server that wrote the file [default: recognised by its content]' -r -f -a "isc\t'ISC dhcpd'
dnsmasq\t'dnsmasq'"
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l only -d 'List only leases in this state: leased, declined, released or expired' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l subnet -d 'List only leases of this subnet, such as 192.168.77.0/24' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -l json -d 'Print JSON instead of text: an array of objects, or one object for import'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from help" -f -a "list" -d 'List every lease in the order of addresses (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show everything about one lease'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from help" -f -a "release" -d 'End a lease now, so that its address may be given to another client'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from help" -f -a "import" -d 'Import the leases of ISC dhcpd or dnsmasq, while no lanboot runs'
complete -c lanboot -n "__fish_lanboot_using_subcommand leases; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand import" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand import" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand import" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "list" -d 'List every boot file: its kind, clients, signers and origin (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "add" -d 'Add boot files from the distribution\'s signed packages, a local file, or a download'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "verify" -d 'Compare every added file with its recorded checksum'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "build" -d 'Build the root file system of machines without a disk, from a folder or a tar archive'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "remove" -d 'Remove builds of root file systems'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and not __fish_seen_subcommand_from list add verify build remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from list" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from list" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from list" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l arch -d 'Architectures, amd64 or arm64 [default: both, where there are files for both]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l deb -d 'Take the files from these package files (.deb) instead of downloading them' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l name -d 'Name for the file of a path or URL in the images folder [default: its own name]' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l sha256 -d 'SHA-256 that the file of a path or URL must have, in hexadecimal' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l force -d 'Replace files that lanboot did not add, or that were changed since'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from verify" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from verify" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from verify" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -l from -d 'The root file system: its folder, a tar archive of it, or - for a tar archive on standard input' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -l force -d 'Also remove builds that a target uses'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -l json -d 'Print a JSON array of objects instead of text'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "list" -d 'List every boot file: its kind, clients, signers and origin (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add boot files from the distribution\'s signed packages, a local file, or a download'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Compare every added file with its recorded checksum'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "build" -d 'Build the root file system of machines without a disk, from a folder or a tar archive'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Remove builds of root file systems'
complete -c lanboot -n "__fish_lanboot_using_subcommand images; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand schema" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand schema" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand schema" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand schema" -l markdown -d 'Print the reference of all keys (docs/configuration.md) instead'
complete -c lanboot -n "__fish_lanboot_using_subcommand schema" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand demo" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand demo" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand demo" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand demo" -l vm -d 'Boot a real machine (QEMU) on a private network instead'
complete -c lanboot -n "__fish_lanboot_using_subcommand demo" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand token" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand token" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand token" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand token" -l rotate -d 'Replace the token; the old one is invalid immediately'
complete -c lanboot -n "__fish_lanboot_using_subcommand token" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand completions" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand completions" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand completions" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand completions" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand man" -l config -d 'Configuration file [default: ./config.yaml, then /etc/lanboot/config.yaml]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand man" -l state -d 'State folder [default: `state` of the configuration]' -r -F
complete -c lanboot -n "__fish_lanboot_using_subcommand man" -l log -d 'Log level, instead of the one in the configuration: error, warn, info, debug or trace' -r
complete -c lanboot -n "__fish_lanboot_using_subcommand man" -s h -l help -d 'Print help'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "serve" -d 'Run the servers'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "reload" -d 'Check the configuration, then make the running server use it'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "status" -d 'Show what the running server does: interfaces, pools in use, machines that boot now, last failures'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "machines" -d 'List every machine that was seen or is in the configuration: name, MAC address, address, firmware, last boot'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "why" -d 'Show the last boots of a machine step by step, and why they stopped'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "capture" -d 'Write the packets of a machine\'s last boot as a pcap file, for tcpdump and Wireshark'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "once" -d 'Start a target at the next boot of a machine only'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "wake" -d 'Start machines with Wake-on-LAN packets'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "check" -d 'Show every problem in the configuration, with its position, and of this computer: interfaces, ports, folders, lease database, firewall'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "doctor" -d 'Look for everything that would keep machines from booting here: interfaces, ports, firewall, other DHCP servers, boot files; each finding has the command that fixes it'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "rehearse" -d 'Show what each machine would boot with each kind of firmware, according to this configuration; nothing is sent'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "probe" -d 'Act as a machine that boots from the network, and show each step from DISCOVER to the last byte of the boot file'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "leases" -d 'List leases, show one or release its address, with or without a running server; or import another server\'s leases'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "import" -d 'Print another DHCP server\'s configuration as config.yaml; standard error lists what was not taken'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "images" -d 'List, add and verify the files of the images folder'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "schema" -d 'Print the JSON schema of config.yaml, for editors'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "demo" -d 'Boot five simulated machines of different kinds from a server on this computer\'s loopback'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "token" -d 'Print the token for changes through the web listener; it is created when it is first printed'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "completions" -d 'Print the script that completes lanboot\'s commands and options in a shell'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "man" -d 'Print the manual page, or write one page for each command into a folder'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and not __fish_seen_subcommand_from serve reload status machines why capture once wake check doctor rehearse probe leases import images schema demo token completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from leases" -f -a "list" -d 'List every lease in the order of addresses (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from leases" -f -a "show" -d 'Show everything about one lease'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from leases" -f -a "release" -d 'End a lease now, so that its address may be given to another client'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from leases" -f -a "import" -d 'Import the leases of ISC dhcpd or dnsmasq, while no lanboot runs'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from images" -f -a "list" -d 'List every boot file: its kind, clients, signers and origin (default)'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from images" -f -a "add" -d 'Add boot files from the distribution\'s signed packages, a local file, or a download'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from images" -f -a "verify" -d 'Compare every added file with its recorded checksum'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from images" -f -a "build" -d 'Build the root file system of machines without a disk, from a folder or a tar archive'
complete -c lanboot -n "__fish_lanboot_using_subcommand help; and __fish_seen_subcommand_from images" -f -a "remove" -d 'Remove builds of root file systems'
