//! Destroying files, file systems and devices.

use sandbox_types::Effect::{DestroysData, DestroysDevice, OutOfWorkspace};

mod deleted;
mod written;

use deleted::deletes;
use written::writes_device;
pub(crate) use written::written;

use super::{Rule, When};
use crate::{
    paths::{Place, place_of},
    risk::{CRITICAL, HIGH, Held, LOW, MEDIUM},
};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "fs.delete-root",
        score: CRITICAL + 10,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, _| {
                place == Place::Root || place == Place::SystemTree
            })
        }),
        message: "deletes the system, or a tree that it cannot do without",
        suggestion: "name the one directory below the workspace that is to go",
        matches: &[
            "rm -rf /",
            "sudo rm -r -f /*",
            "rm -rf --no-preserve-root /",
            "rm -fr /usr",
            "cd / && rm -rf *",
            "rm -rf ${HOME}/../../etc",
            "find / -delete",
            "find /etc -exec rm -rf {} +",
            "find -O3 -L / -exec sudo rm -rf {} +",
            "find -D exec / -delete",
            "find / -exec gio trash {} +",
            "fd . / -x rm -rf",
            "fd --exec rm -rf {} \\; . /",
        ],
        spares: &[
            "rm -rf ./build",
            "rm -rf /tmp/x",
            "ls /",
            "echo rm -rf /",
            "find / -name x",
        ],
    },
    Rule {
        id: "fs.delete-home",
        score: CRITICAL,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Home && all)
        }),
        message: "deletes a whole home directory",
        suggestion: "name the one directory that is to go",
        matches: &[
            "rm -rf ~",
            "rm -rf $HOME/*",
            "rm -r /home/alice",
            "find ~ -delete",
        ],
        spares: &["rm -rf ~/project/build", "ls ~"],
    },
    Rule {
        id: "fs.delete-system-file",
        score: HIGH,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, _| place == Place::SystemFile)
        }),
        message: "deletes files of the operating system",
        suggestion: "let the package manager remove what it installed",
        matches: &[
            "rm /etc/shadow",
            "rm -f \"/usr/bin/curl\"",
            "f=/etc/timezone; rm -f \"$f\"",
            "unlink /etc/hosts",
        ],
        spares: &[
            "rm -rf /var/lib/apt/lists/*",
            "rm -f /tmp/lock",
            "cat /etc/hosts",
        ],
    },
    Rule {
        id: "fs.delete-in-home",
        score: MEDIUM,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::InHome && all)
        }),
        message: "deletes a directory in a home directory",
        suggestion: "move it aside first",
        matches: &[
            "rm -rf ~/.config/tool",
            "rm -r \"/Users/ann/Music/old tapes\"",
        ],
        spares: &["rm ~/notes.txt", "rm -rf ~/.cache/pip"],
    },
    Rule {
        id: "fs.delete-outside",
        score: MEDIUM,
        effects: &[DestroysData, OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Outside && all)
        }),
        message: "deletes a directory outside of the workspace",
        suggestion: "work inside the workspace",
        matches: &["rm -rf /data/db", "rm -rf /mnt/backup/*"],
        spares: &["rm -rf /tmp/build", "rm -rf target"],
    },
    Rule {
        id: "fs.delete-unknown",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            // Moving what the text does not name is what loops over files are for.
            let moves = command.program() == "mv";
            let found = deletes(scene, command, |place, all| place == Place::Unknown && all);
            found.filter(|_| !moves)
        }),
        message: "deletes a directory that the text does not name; with an empty variable it is another one",
        suggestion: "write ${VAR:?} so that an empty value stops it",
        matches: &["rm -rf \"$DIR\"/*", "rm -rf $(get_dir)"],
        spares: &["rm -rf build/$NAME", "rm \"$file\"", "mv $d/* ."],
    },
    Rule {
        id: "fs.delete-everything-here",
        score: MEDIUM,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| place == Place::Wide && all)
        }),
        message: "deletes the whole workspace or its history",
        suggestion: "name what is to go; in a sandbox `undo` brings it back",
        matches: &[
            "rm -rf ./* .git",
            "rm -rf .",
            "rm -r ../*",
            "rm -rf *",
            "find . -delete",
            "find . -type f -exec shred {} +",
            "find -delete",
            "find -O3 . -exec rm -rf {} +",
            "fd . -x rm -rf",
            "fd -H -t f . -X trash",
        ],
        spares: &[
            "rm -rf build",
            "rm *.o",
            "find . -name '*.pyc' -delete",
            "find -name '*.pyc' -delete",
            "fd -e rs -x wc -l",
        ],
    },
    Rule {
        id: "fs.delete-tree",
        score: LOW,
        effects: &[DestroysData],
        held: Held::Rollback,
        when: When::Holds(|scene, command| {
            deletes(scene, command, |place, all| {
                place == Place::Workspace && all
            })
        }),
        message: "deletes a directory",
        suggestion: "in a sandbox `undo` brings it back",
        matches: &["rm -rf build", "rm -r -f src/old"],
        spares: &["rm a.txt", "rmdir empty"],
    },
    Rule {
        id: "device.write",
        score: CRITICAL + 5,
        effects: &[DestroysDevice],
        held: Held::View,
        when: When::Holds(writes_device),
        message: "overwrites a block device",
        suggestion: "write to an image file",
        matches: &[
            "dd if=/dev/zero of=/dev/sda",
            "cat image > /dev/sdb",
            "cp x.iso /dev/sdc",
            "yes | tee /dev/nvme0n1",
            "shred /dev/sda",
        ],
        spares: &[
            "dd if=/dev/sda of=disk.img",
            "cat /dev/sda | head",
            "ls > /dev/null",
            "dd if=a of=b",
        ],
    },
    Rule {
        id: "fs.overwrite-system",
        score: MEDIUM,
        effects: &[OutOfWorkspace],
        held: Held::View,
        when: When::Holds(|scene, command| {
            written(command)
                .into_iter()
                .find(|word| {
                    matches!(
                        place_of(word, command, scene.places),
                        Place::SystemFile | Place::SystemTree
                    )
                })
                .map(|word| word.span)
        }),
        message: "changes a file of the operating system",
        suggestion: "work inside the workspace",
        matches: &[
            "echo x >> /etc/hosts",
            "printf x | tee -a /etc/fstab",
            "sed -i s/a/b/ /etc/ssh/ssh_config",
            "ln -sf /tmp/x /usr/bin/ls",
        ],
        spares: &[
            "cp /etc/hosts .",
            "sed s/a/b/ /etc/hosts",
            "echo x > /dev/null",
            "echo x > out.txt",
            "cat x > /tmp/y",
        ],
    },
];
