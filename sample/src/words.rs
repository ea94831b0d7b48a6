//! What people say about any work.

pub const PLANNED: &[&str] = &[
    "Who knows the history of this one? I would like to talk before we start.",
    "I would keep it small at first and see whether anybody misses the rest.",
    "Can we split this? A part of it could be done this week.",
    "Not urgent from my side. I moved it behind the launch.",
    "Is this still wanted? It has been quiet for a while.",
    "I can take this on once my current task is done, probably on Thursday.",
    "We need a decision first. Options:\n\n1. do the least and move on\n2. do it properly, about three days more\n\n\
     I lean towards the second.",
    "The estimate assumes that nobody has to wait for approvals.",
];

pub const WORKING: &[&str] = &[
    "Started. First result by tomorrow evening.",
    "Halfway there. What remains is bigger than I thought.",
    "Blocked until I have access to the account; asked for it this morning.",
    "Tried the obvious way first and it does **not** work. I'll write down why.",
    "Ready for a look. Please be strict.",
    "Looked through it: two small remarks, otherwise good to go.",
    "We worked on this in a pair today, that helped a lot.",
    "Done except for the last point, which waits for an answer from outside.",
    "This turned out to be two problems. I'll solve the first here and write up the second.",
];

pub const FINISHED: &[&str] = &[
    "Done since this morning.",
    "Checked it today: all as agreed.",
    "Thank you, that was quick!",
    "Closing. What is left went into a task of its own.",
    "For the record: it took longer than estimated because of the review, not the work.",
];

pub const REPLIES: &[&str] = &[
    "Agreed.",
    "Good point, I'll change that.",
    "Thanks, that helps.",
    "I don't think so, but let us ask around first.",
    "Yes, go ahead.",
    "Can it wait until Monday?",
    "Done.",
    "I would rather not: it makes the next step harder.",
    "Same here.",
    "See the link in the channel, that should answer it.",
    "Let us talk about it in the stand-up.",
    "Makes sense to me.",
];
