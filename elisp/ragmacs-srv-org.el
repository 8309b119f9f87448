;;; ragmacs-srv-org.el --- Links to what is stored, and results for Org  -*- lexical-binding: t; -*-

;; Author: The ragmacs-srv maintainers
;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Links such as [[ragmacs:https://go.dev/doc/gc-guide#GOGC]] open a section
;; as it is stored on this machine, also when there is no network:
;;
;;     (with-eval-after-load 'org (require 'ragmacs-srv-org))
;;
;; `ragmacs-srv-org-capture' is for a capture template:
;;
;;     ("r" "Passage" entry (file "notes.org") "* %?\n%(ragmacs-srv-org-capture)")

;;; Code:

(require 'ol)
(require 'ragmacs-srv)

(declare-function org-current-level "org" ())

;;;; Links

(org-link-set-parameters "ragmacs"
                         :follow #'ragmacs-srv-org-open
                         :store #'ragmacs-srv-org-store
                         :export #'ragmacs-srv-org-export)

(defun ragmacs-srv-org-open (path &optional external)
  "Show the section at PATH as it is stored, or at its place on this machine.
If EXTERNAL, open what is on the web in the browser."
  (if (and (string-match-p "\\`https?:" path) (not external))
      (ragmacs-srv-read path)
    (ragmacs-srv-open path external)))

(defun ragmacs-srv-org-store (&optional _interactive)
  "Store a link to the source at point in a buffer of ours."
  (when-let ((source (and (derived-mode-p 'ragmacs-srv-mode) (get-text-property (point) 'ragmacs-srv-source))))
    (org-link-store-props :type "ragmacs"
                          :link (concat "ragmacs:" (plist-get source :link))
                          :description (ragmacs-srv-org-quiet (ragmacs-srv-source-name source)))))

(defun ragmacs-srv-org-export (path description backend &optional _info)
  "Export the link to PATH with DESCRIPTION for BACKEND: by its address on the web."
  (let ((text (or description path)))
    (cond ((not (string-match-p "\\`https?:" path)) text)
          ((org-export-derived-backend-p backend 'html) (format "<a href=\"%s\">%s</a>" path text))
          ((org-export-derived-backend-p backend 'latex) (format "\\href{%s}{%s}" path text))
          ((org-export-derived-backend-p backend 'md) (format "[%s](%s)" text path))
          (t (format "%s <%s>" text path)))))

(declare-function org-export-derived-backend-p "ox" (backend &rest backends))

(defun ragmacs-srv-org-link (link &optional name)
  "Return a link of Org to LINK, called NAME.
What only we can open becomes a link of our type."
  (org-link-make-string (if (string-match-p "\\`https?:" link) link (concat "ragmacs:" link))
                        (and name (ragmacs-srv-org-quiet name))))

;;;; Text

(defun ragmacs-srv-org-heading (title properties)
  "Return a heading TITLE with PROPERTIES, a plist, one level below where point is."
  (concat (if (bolp) "" "\n")
          (make-string (1+ (or (and (derived-mode-p 'org-mode) (org-current-level)) 0)) ?*)
          " " (ragmacs-srv-org-quiet title) "\n"
          ":PROPERTIES:\n"
          (cl-loop for (name value) on properties by #'cddr
                   concat (format ":%s: %s\n" (upcase (substring (symbol-name name) 1)) value))
          ":END:\n"))

(defun ragmacs-srv-org-from-markdown (markdown)
  "Return MARKDOWN, as answers use it, in Org.
What pages say may be hostile: Org acts on none of it but links to the web."
  (with-temp-buffer
    (insert markdown)
    (goto-char (point-min))
    (while (not (eobp))
      (if (looking-at "[ \t]*```[ \t]*\\([[:alnum:]+#-]*\\).*$") ; what follows would be arguments of the block
          (ragmacs-srv-org--block (match-string 1))
        (ragmacs-srv-org--quiet-line)
        (ragmacs-srv-org--line))
      (forward-line))
    (ragmacs-srv-org--unevaluated)
    (buffer-string)))

(defun ragmacs-srv-org-quiet (text)
  "Return TEXT as one line that Org does not act on."
  (with-temp-buffer
    (insert (replace-regexp-in-string "[ \t\n]+" " " text))
    (ragmacs-srv-org--quiet-line)
    (ragmacs-srv-org--unevaluated)
    (buffer-string)))

(defconst ragmacs-srv-org--active
  (concat "\\[\\(?:\\[\\|fn:\\|cite[:/]\\)\\|<<\\|{{{\\|@@\\|\\<\\(?:src\\|call\\)_[[:alnum:]]\\|"
          "\\<\\(?:elisp\\|shell\\|file\\(?:\\+[[:alnum:]]+\\)?\\|attachment\\|docview\\|help\\|info\\|man\\|eww\\):"
          "[^[:space:]]")
  "What Org acts on where it stands in text.
These are links, notes, citations, targets, macros, code and links without
brackets.")

(defconst ragmacs-srv-org--active-in-code
  "\\[\\[[[:alpha:]+-]+:\\|\\<\\(?:elisp\\|shell\\):\\|\\<\\(?:src\\|call\\)_[^ \n]*[[({]"
  "What Org would run of code that it does not take for such.
It does not where a letter stands beside its marks.")

(defun ragmacs-srv-org--quiet-line ()
  "Keep Org from acting on the line at point, but for addresses on the web.
A space without width makes it text; code has one only if it could be run."
  (goto-char (line-beginning-position))
  (cond ((looking-at "\\*+ ") (replace-match "- " t t)) ; an item of Markdown
        ((looking-at "[ \t]*\\(?:#\\+\\|:[^ \t\n:]+:\\)") (insert "\u200b")))
  (let ((case-fold-search t))
    (while (re-search-forward (concat "\\(`[^`\n]+`\\|https?://[^][<> \t\n]+\\)\\|" ragmacs-srv-org--active)
                              (line-end-position) t)
      (cond ((not (match-beginning 1)) (ragmacs-srv-org--part))
            ((eq (char-after (match-beginning 1)) ?`)
             (save-restriction
               (narrow-to-region (match-beginning 1) (match-end 1))
               (goto-char (point-min))
               (while (re-search-forward ragmacs-srv-org--active-in-code nil t)
                 (ragmacs-srv-org--part))
               (goto-char (point-max))))))))

(defun ragmacs-srv-org--part ()
  "Put a space without width behind the first character of what was found."
  (goto-char (1+ (match-beginning 0)))
  (insert "\u200b"))

(defun ragmacs-srv-org--unevaluated ()
  "Keep the agenda from evaluating anything in the buffer.
It would do so in code, too."
  (goto-char (point-min))
  (while (re-search-forward "^&?%%(\\|<%%(" nil t)
    (goto-char (+ (match-beginning 0) (if (eq (char-after (match-beginning 0)) ?<) 1 0)))
    (insert "\u200b")
    (forward-char)))

(defun ragmacs-srv-org--block (language)
  "Make the fenced block at point, of LANGUAGE, one of Org, and go to its end."
  (replace-match (if (string-empty-p language) "#+begin_example" (concat "#+begin_src " language)) t t)
  (let ((start (line-beginning-position 2)))
    (if (re-search-forward "^[ \t]*```[ \t]*$" nil t)
        (replace-match (if (string-empty-p language) "#+end_example" "#+end_src") t t)
      (goto-char (point-max)))
    (save-excursion
      (save-restriction
        (narrow-to-region (min start (point)) (line-beginning-position))
        (goto-char (point-min))
        (while (re-search-forward "^\\(?:\\*\\|#\\+\\)" nil t) ; Org would take it for its own
          (replace-match ",\\&"))))))

(defun ragmacs-srv-org--line ()
  "Make the emphasis, code, links and headings of the line at point those of Org."
  (pcase-dolist (`(,from . ,to) '(("^\\(#+\\) " . heading)
                                  ("\\*\\*\\([^*\n]+\\)\\*\\*" . "*\\1*")
                                  ("`\\([^`\n]+\\)`" . "=\\1=")
                                  ("\\[\\([^]\n]+\\)\\](\\(https?:[^) \n]+\\))" . "[[\\2][\\1]]")))
    (goto-char (line-beginning-position))
    (while (re-search-forward from (line-end-position) t)
      (if (eq to 'heading)
          (replace-match (make-string (length (match-string 1)) ?*) t t nil 1)
        (replace-match to t)))))

;;;; Capture

(defun ragmacs-srv-org-capture ()
  "Return the source at point where a capture began, quoted and linked."
  (let ((buffer (plist-get (bound-and-true-p org-capture-plist) :original-buffer)))
    (with-current-buffer (or buffer (current-buffer))
      (let ((source (or (get-text-property (point) 'ragmacs-srv-source)
                        (user-error "There is no source at point"))))
        (concat (if-let ((quote (or (plist-get source :quote) (plist-get source :text))))
                    (format "#+begin_quote\n%s\n#+end_quote\n" (string-trim (ragmacs-srv-org-from-markdown quote)))
                  "")
                (ragmacs-srv-org-link (plist-get source :link) (ragmacs-srv-source-name source)))))))

(provide 'ragmacs-srv-org)
;;; ragmacs-srv-org.el ends here
