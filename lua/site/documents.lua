--- Terms, privacy and help: longer texts than a catalogue should hold, one table for each language.
-- An operator replaces them; what stands here is true of the software as it comes.
local documents = {}

documents.en = {
  help = {
    title = "Help",
    sections = {
      { id = "watch", title = "Watching", paragraphs = {
        "Open a room from the front page. A picture with sound starts by itself where your browser allows it; otherwise press play.",
        "Rooms with a gold price are paid shows. Nothing is charged before you press the button that names the price. From then on each second costs a sixtieth of the price per minute, and you can stop at any time. When your credits run out the picture stops; you never owe anything.",
      } },
      { id = "credits", title = "Credits and tips", paragraphs = {
        "Credits are bought in packs and spent in any room. Bonus credits are spent before bought ones. Your balance is at the top of every page and changes as you spend.",
        "A tip goes to the performer at once and cannot be taken back. You can tip without your name being shown in the chat.",
      } },
      { id = "broadcast", title = "Broadcasting", paragraphs = {
        "Apply under “Become a model”. After a person has approved your profile, the studio gives you a server address and a stream key for OBS or a similar program. Use H.264 video, AAC sound and a keyframe every two seconds.",
        "Keep your stream key to yourself. If somebody may have seen it, make a new one in the studio: the old one ends at once.",
      } },
      { id = "trouble", title = "When something does not work", paragraphs = {
        "No picture: press “Try again”, then try another browser. The player needs JavaScript and a browser that can play H.264.",
        "No mail: look into the spam folder, then ask for a new link on the sign-in page. Links are good for 24 hours, those for a new password for one hour.",
      } },
    },
  },
  terms = {
    title = "Terms",
    sections = {
      { id = "who", title = "Who may use this site", paragraphs = {
        "You must be at least 18 years old and of age where you live. One account belongs to one person. Keep your password to yourself; what is done with your account counts as done by you until you tell us otherwise.",
      } },
      { id = "credits", title = "Credits", paragraphs = {
        "Credits pay for shows and tips on this site and for nothing else. Paid shows are charged by the second at the price that was shown when you started. A show that is interrupted by the performer or by us is not charged while there is no picture.",
        "Tips are final. If a payment is taken back by your bank, credits that came from it are frozen until that is settled.",
      } },
      { id = "conduct", title = "How we treat each other", paragraphs = {
        "No threats, no harassment, no hate, no recordings without the performer’s consent, nobody under age, nothing illegal. Moderators may remove messages, close rooms and end accounts. You can ask for a second look by another person.",
      } },
      { id = "models", title = "Model agreement", paragraphs = {
        "Everybody who can be seen must be of age, identified to us and willing. You own your show and grant this site what it needs to transmit it live. You receive the share of what viewers pay that your statement shows.",
        "We watch live rooms and may end a broadcast. We say why, and you may object.",
      } },
    },
  },
  privacy = {
    title = "Privacy",
    sections = {
      { id = "what", title = "What we keep", paragraphs = {
        "Your name, your email address, a hash of your password (never the password), when and from which addresses you signed in, what you bought and what you spent. Of models also the legal name and date of birth, encrypted.",
        "Chat messages are kept for a few minutes so that those who come in can read on. Video is not kept.",
      } },
      { id = "why", title = "Why", paragraphs = {
        "To run your account, to account for money as the law demands, and to keep people safe. Nothing is sold, and there are no advertisers or trackers on these pages.",
      } },
      { id = "cookies", title = "Cookies", paragraphs = {
        "One cookie keeps you signed in, one protects forms, and one remembers whether you like it light or dark. That is all.",
      } },
      { id = "rights", title = "Your rights", paragraphs = {
        "You may see, correct, take with you and delete your data. Entries of the ledger stay, without your name, as long as the law demands.",
      } },
    },
  },
}

documents.de = {
  help = {
    title = "Hilfe",
    sections = {
      { id = "watch", title = "Zuschauen", paragraphs = {
        "Öffne einen Raum von der Startseite aus. Das Bild beginnt von selbst, wo der Browser es erlaubt; sonst drücke auf Abspielen.",
        "Räume mit goldenem Preis sind bezahlte Shows. Berechnet wird erst, wenn du den Knopf mit dem Preis drückst, dann sekundengenau, und du kannst jederzeit aufhören. Sind die Credits aufgebraucht, endet das Bild; Schulden entstehen nie.",
      } },
      { id = "credits", title = "Credits und Trinkgeld", paragraphs = {
        "Credits gibt es in Paketen; sie gelten in jedem Raum. Bonus-Credits werden zuerst ausgegeben. Dein Guthaben steht oben auf jeder Seite.",
        "Trinkgeld geht sofort an die Person auf der Bühne und lässt sich nicht zurücknehmen. Du kannst es ohne deinen Namen geben.",
      } },
      { id = "broadcast", title = "Selbst senden", paragraphs = {
        "Bewirb dich unter „Model werden“. Nach der Freigabe zeigt das Studio Serveradresse und Streamschlüssel für OBS oder ein ähnliches Programm. Verwende H.264, AAC und alle zwei Sekunden ein Schlüsselbild.",
        "Behalte den Streamschlüssel für dich. Hat ihn jemand gesehen, erzeuge im Studio einen neuen: der alte endet sofort.",
      } },
      { id = "trouble", title = "Wenn etwas nicht geht", paragraphs = {
        "Kein Bild: „Noch einmal versuchen“, dann ein anderer Browser. Der Player braucht JavaScript und H.264.",
        "Keine Mail: im Spam-Ordner nachsehen, dann auf der Anmeldeseite einen neuen Link anfordern.",
      } },
    },
  },
  terms = {
    title = "Bedingungen",
    sections = {
      { id = "who", title = "Wer diese Seite nutzen darf", paragraphs = {
        "Du musst mindestens 18 Jahre alt und an deinem Wohnort volljährig sein. Ein Konto gehört einer Person. Behalte dein Passwort für dich.",
      } },
      { id = "credits", title = "Credits", paragraphs = {
        "Credits bezahlen Shows und Trinkgeld auf dieser Seite und sonst nichts. Bezahlte Shows werden sekundengenau zu dem Preis berechnet, der beim Start angezeigt war. Ohne Bild wird nichts berechnet.",
        "Trinkgeld ist endgültig. Holt deine Bank eine Zahlung zurück, werden die Credits daraus bis zur Klärung eingefroren.",
      } },
      { id = "conduct", title = "Wie wir miteinander umgehen", paragraphs = {
        "Keine Drohungen, keine Belästigung, kein Hass, keine Aufnahmen ohne Einwilligung, niemand Minderjähriges, nichts Verbotenes. Moderatoren können Nachrichten entfernen, Räume schließen und Konten beenden. Eine zweite Person prüft das auf Wunsch noch einmal.",
      } },
      { id = "models", title = "Vereinbarung für Models", paragraphs = {
        "Alle, die zu sehen sind, müssen volljährig, uns bekannt und einverstanden sein. Die Show gehört dir; du räumst dieser Seite ein, was zum Übertragen nötig ist. Du erhältst den Anteil, den deine Abrechnung zeigt.",
        "Wir sehen in laufende Räume hinein und können eine Sendung beenden. Wir sagen, warum, und du kannst widersprechen.",
      } },
    },
  },
  privacy = {
    title = "Datenschutz",
    sections = {
      { id = "what", title = "Was wir speichern", paragraphs = {
        "Name, E-Mail-Adresse, eine Prüfsumme des Passworts (nie das Passwort), wann und von wo du dich angemeldet hast, was du gekauft und ausgegeben hast. Von Models auch Geburtsdatum und bürgerlichen Namen, verschlüsselt.",
        "Chatnachrichten bleiben einige Minuten, damit Neue mitlesen können. Video wird nicht gespeichert.",
      } },
      { id = "why", title = "Wozu", paragraphs = {
        "Für dein Konto, für die gesetzliche Buchführung und für die Sicherheit aller. Nichts wird verkauft; Werbung und Tracker gibt es hier nicht.",
      } },
      { id = "cookies", title = "Cookies", paragraphs = {
        "Eines hält dich angemeldet, eines schützt Formulare, eines merkt sich hell oder dunkel. Das ist alles.",
      } },
      { id = "rights", title = "Deine Rechte", paragraphs = {
        "Du darfst deine Daten sehen, berichtigen, mitnehmen und löschen. Buchungen bleiben ohne deinen Namen, solange das Gesetz es verlangt.",
      } },
    },
  },
}

--- The document in that language, or in English.
function documents.find(name, locale)
  local language = tostring(locale or "en"):match("^%a+")
  return (documents[language] or documents.en)[name] or documents.en[name]
end

return documents
