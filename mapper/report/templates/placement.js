// The page of one placement: its picture stands in the page, and answers.

const told = document.getElementById("told");
document.getElementById("hint").textContent = FOLLOW_HINT;
follow(document.querySelector("svg.mfp"), told);
