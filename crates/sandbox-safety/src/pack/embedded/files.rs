//! The rules of `packs/files.yaml`, made by `cargo xtask generate`.

use sandbox_types::Effect;

use crate::{risk::Held, rules::{Rule, When}};

pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "fs.shred",
        score: 35,
        effects: &[Effect::DestroysData],
        held: Held::Rollback,
        message: "overwrites files so that they cannot be recovered",
        suggestion: "delete them with rm",
        when: When::Looks(&[
            "shred|srm|wipe|scrub .. *",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "fs.discard-content",
        score: 35,
        effects: &[Effect::DestroysData],
        held: Held::Rollback,
        message: "throws the content of files away",
        suggestion: "move it aside first",
        when: When::Looks(&[
            "mv =/dev/null",
            "truncate -s|--size ~0 !~K|M|G|+|r",
            "rd|rmdir|del|erase =/s",
            "rd|rmdir|del|erase =/S",
            "Remove-Item|ri -Recurse|-Force|-recurse|-force",
            "7z|7za|7zr a -sdel",
            "zip -m|--move !~.log|/tmp",
            "tar|bsdtar -C .. / -x|--extract|--get",
            "tar|bsdtar -P|--absolute-names|--unlink-first|--recursive-unlink|-xPf|-xzPf|-xPzf !-c|-t|--list",
            "unzip -d .. /|/usr|/etc|/usr/*|/lib",
            "patch -d .. /|/etc|/usr|/lib",
        ]),
        matches: &[],
        spares: &[],
    },
    Rule {
        id: "fs.system-permissions",
        score: 60,
        effects: &[Effect::DestroysData, Effect::OutOfWorkspace],
        held: Held::View,
        message: "changes the permissions of the system or of everything",
        suggestion: "change the one file that needs it",
        when: When::Looks(&[
            "chmod|chown|chgrp|setfacl|chattr -R|--recursive @system",
            "chmod|chown|chgrp|setfacl -R|--recursive @home",
            "chmod -R|--recursive ~777|a+rwx|000|o+w @wide",
            "chmod ~777|666|a+w|o+w|a+rwx @systemfile",
            "chmod ~000|777 @system",
            "chattr -R|--recursive @root",
            "chmod ~000|777|-x|a-x|a-r|u-x @systemfile",
            "chattr +i|=i|-i|+a @systemfile|account|startup|secret",
        ]),
        matches: &[],
        spares: &[],
    },
];
